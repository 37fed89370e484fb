"""A soak: many jobs through several processes while everything goes wrong, and an audit by somebody else's eyes.

    python -m soak --jobs 10000 --seed 1     (`make soak`; with tests/ on the path)

`plan`      what is asked for and what goes wrong, drawn from a seed before anything starts
`faults`    what can go wrong at which place
`machines`  PostgreSQL, emulators and workers as processes that can be killed, frozen and restarted
`customers` who submits, cancels, asks again, and is called back
`trouble`   carries the plan's troubles out
`evidence`  afterwards: what the database, the places and the customers say
`audit`     all of it compared, with `money` and `runs`; uses nothing of genyard
`report`    docs/explanation/soak.md
"""

"""Durable jobs: accepted once, ended once, whatever crashes in between.

model     what a job, an attempt, an asset look like from outside; the state tables
store     every statement on these tables (`queries.sql`), nothing else
live      LISTEN: events, progress and cancels reach this process
runner    drives one stage through the attempt protocol
outputs   what came out of an attempt: fetched, checked, stamped with facts, stored
callbacks  jobs tell a URL what becomes of them: what waits, who sends it, signatures
housekeeping  what goes: owners, what is old, what nobody needs; what somebody has to look at
worker    a process that runs stages: Procrastinate, the advisory lock, the sweep
"""

"""What `make demo` and `make demo-emulated` show: jobs through the same durable path as every other job.

`pieces` is the newcomer's demonstration at whatever place is configured, `places` sends work to every kind of place,
emulated. Both leave pictures, `contact-sheet.png` and `jobs.json`.
"""

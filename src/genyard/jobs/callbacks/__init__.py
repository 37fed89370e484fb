"""Callbacks: jobs tell a URL what becomes of them, signed as the Standard Webhooks specification says.

deliveries  the tables: what waits, who sends it, what came of it; the owners' secrets (`queries.sql`)
sender      the part of a worker that sends
signing     secrets and signatures; pure
message     what is sent; pure

Written is a delivery by a trigger (0006_callbacks.sql), in the transaction of the event that it tells of.
"""

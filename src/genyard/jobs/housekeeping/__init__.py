"""What is done behind the jobs: what is not wanted any more goes, and who runs genyard learns what is wrong.

removal    owners that are deleted, with everything of theirs; objects of the store that nobody needs
retention  what goes by age, unless a tag or a job keeps it
orphans    the store and the tables compared: objects without a row, rows without an object
alerts     what somebody has to look at: pure
overview   workers, queues, callbacks, disk and alerts at one moment
keeper     the part of a worker that does all this, one worker at a time
"""

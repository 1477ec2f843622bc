"""Networks that serve a method and a metric alike; they live once, here, and know neither.

`avhubert`: audio encoder of SyncDiff and TalkLip, VSR model of WER. `syncnet`: the lip-sync expert of LSE.
"""

"""A small CTC speech recogniser in the shape of DeepSpeech, which gives the character scores on pocket.

audio ──▶ 26 MFCC at 50 Hz, with 9 rows either side ──▶ 3 dense ──▶ LSTM both ways ──▶ 2 dense ──▶ (M, 29)
"""

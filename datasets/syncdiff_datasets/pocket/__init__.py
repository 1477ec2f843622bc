"""pocket: a drawn miniature world in which everything really trains and runs on a CPU.

What flows, one direction:

    grammar ──sentence──▶ speech ──audio, phones──▶ articulation ──mouth trajectory──▶ drawing ──frames──▶ world
                                                         ▲                                ▲
                                              persona (face, voice, style, drift) ────────┘

`world` writes clips in the LRS2 layout; `dataset` reads them with the LRS2 loader's own code.
"""

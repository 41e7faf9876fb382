"""The audit: whether what leaves a data folder protects people as claimed, asked of the real pipeline.

    scenarios, scenario_run   synthetic activity goes through the real operations, with one user and without
    recorder           what the draws were given, before noise: the audit hands a recorder and its noise to the
                       workspaces of its runs, whose folders are synthetic; no setting leads there
    claims             which changes by one user the noise covers, and what they cost
    replay             part 1: neighbouring runs differ in noise and nothing else
    noise_fit          part 2: released noise has the stated law and is never reused
    game               part 3: whoever sees the values guesses no better than claimed
    controls           part 4: faults put in on purpose, each of which must be caught
    verdict, run       what is written about it

Everything runs in temporary data folders with synthetic users: no real data, budget or secret is touched.
"""

import labtrain as lt

experiment = lt.load("config/acoustic.yaml").value
with lt.open_rig(experiment) as rig:
    trial = lt.Trial.begin(experiment, rig, seed=0)  # data split, network drawn
    trial.fit()
    verdict = trial.test()
    print(f"{verdict.accuracy:.1%} of {len(verdict.labels)} test rows")
    print(trial.predict([[4.9, 5.8, 7.5, 7.9]]))  # log F0-F3 of a vowel
    lt.plot_confusion(verdict, trial.table.classes).savefig("confusion.png")

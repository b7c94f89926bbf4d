"""Convert a video to a table, and compute the speed of each hand from it.

python examples/pandas_export.py clip.mp4 clip.csv
"""

import sys

import sonjit

if len(sys.argv) < 3:
    sys.exit(__doc__)

table = sonjit.to_dataframe(sonjit.track(sys.argv[1], "hands"))
table.to_csv(sys.argv[2], index=False)  # or .to_parquet, .to_excel, ...
tips = table.loc[table["name"] == "index_finger_tip"].sort_values(["id", "time"])
step = tips.groupby("id")[["x", "y", "time"]].diff()
tips["speed_px_s"] = (step["x"] ** 2 + step["y"] ** 2) ** 0.5 / step["time"]
print(tips.groupby(["id", "handedness"])["speed_px_s"].describe().round(1))

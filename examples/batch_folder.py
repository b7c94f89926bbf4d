"""Write one table per video of a folder. Existing tables are kept.

python examples/batch_folder.py recordings tables
"""

import sys
from pathlib import Path

import sonjit

if len(sys.argv) < 3:
    sys.exit(__doc__)

videos, tables = map(Path, sys.argv[1:3])
tables.mkdir(parents=True, exist_ok=True)
with sonjit.create_detector("hands") as detector:
    for video in sorted(videos.glob("*.mp4")):
        table = tables / f"{video.stem}.parquet"
        if table.exists():
            continue
        detector.reset()  # new ids for each video
        try:
            sonjit.to_dataframe(sonjit.track(video, detector)).to_parquet(table)
        except sonjit.InputError as error:  # the message is one line
            print(f"skipped: {error}")

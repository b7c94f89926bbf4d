"""Request the hands of an image from a running `sonjit serve`, and draw them.

python examples/server_client.py photo.jpg drawn.png
"""

import os
import sys
from pathlib import Path

import cv2
import httpx

import sonjit

if len(sys.argv) < 3:
    sys.exit(__doc__)

photo, drawn = sys.argv[1:3]
server = os.environ.get("SONJIT_SERVER", "http://127.0.0.1:8765")
answer = httpx.post(f"{server}/v1/hands", params={"full": "true"}, content=Path(photo).read_bytes(), timeout=60)
answer.raise_for_status()
hands = [sonjit.Hand.from_dict(hand) for hand in answer.json()["hands"]]
cv2.imwrite(drawn, sonjit.draw(photo, hands)[..., ::-1])
print(*hands, sep="\n")

"""Move an avatar by a face: 52 blendshapes and the head as VMC messages (OSC). Needs face_landmarker.task.

python examples/face_to_avatar.py camera:0 127.0.0.1 39539
"""

import socket
import sys

import sonjit
from sonjit.geometry.rotations import quaternion_wxyz_from_matrix
from sonjit.osc import osc_message

faces = (one for frame in sonjit.track(sys.argv[1], "face", blendshapes=True, transform=True) for one in frame.faces)
with socket.socket(type=socket.SOCK_DGRAM) as outlet:
    for face in faces:
        assert face.transform is not None  # both were asked for
        scale = (face.transform[:3, 0] ** 2).sum() ** 0.5
        w, x, y, z = quaternion_wxyz_from_matrix(face.transform[:3, :3] / scale).tolist()
        head = ("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, x, -y, -z, w)  # Unity's axes: x the other way
        shown = [("/VMC/Ext/Blend/Val", *one) for one in (face.blendshapes or {}).items()]
        for address, *values in [*shown, ("/VMC/Ext/Blend/Apply",), head]:
            outlet.sendto(osc_message(address, *values), (sys.argv[2], int(sys.argv[3])))

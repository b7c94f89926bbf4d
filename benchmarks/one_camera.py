"""Measure the joint angles of single cameras against known angles.

Takes:
* balance: the demo of one person of Pose2Sim, https://github.com/perfanalytics/pose2sim, with four videos and
  `Calib.qca.txt`.
* partner: the second person of Pose2Sim's demo of two people, in the same room.
* ten movements of a rigged figure from eight sides, which `benchmarks/figures.py` renders from a GLB file.
  Only the default model is measured.

The truth of the first two are angles of keypoints of the heavy model, triangulated from all cameras. The ways to
measure were chosen on balance and every second movement of the figure. The partner and the other movements are left
out. The table is the only source of errors on the pages of `sonjit report`:

python benchmarks/one_camera.py --data pose2sim/Pose2Sim --figure brunette-t.glb --cache CACHE --write
"""

import argparse
import json
import platform
from datetime import date
from itertools import combinations
from pathlib import Path

import av
import figures
import numpy as np
import takes
from pages import write_section
from takes import MODELS, arrays_of, mirrored_copy, recorded

from sonjit.report import errors
from sonjit.report.angles import ANGLES, angles_deg, track_angles, uncut_bodies

PLACES = [(800.0, 1300.0), (196.0, 1040.0), (270.0, 755.0), (785.0, 650.0)]  # of the partner in the first frames
MIN_FRAMES = 15  # of a range of motion
COMPARED = "full"  # model of the comparison of ways
WAYS = ("metres", "image", "report")
TITLES = {"metres": "world keypoints", "image": "image plane", "report": "as the report measures"}
GROUPS = {
    "balance": "balance",
    "figure": "figure, every second movement",
    "partner": "partner, left out",
    "figure left out": "figure, left out",
}
PEOPLE = (("balance",), ("partner",), ("figure", "figure left out"))  # groups of each person
ENDS = (
    "range_error",
    "range_percentile_95",
    "difference_percentile_95",
    "mirrored_range",
    "mirrored_largest",
    "between_cameras",
)
"""Errors of an angle in all views."""
OTHER_SIDE = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10, 11]  # of each angle


def group_of(take):
    """Return the name in `GROUPS` of a take."""
    if take.residual_px is None:
        return "figure left out" if take.left_out else "figure"
    return "partner" if take.left_out else "balance"


def measured(take, view, model, cache):
    """Return angles (N, 12) by way, those of the mirrored recording or None, and the tilts (N, 12), in degrees."""
    options = {"people": take.people, "place": view.place}
    found, tilts = as_reported(take, view.video, model, cache, **options)
    ways = {"report": found}
    if model == COMPARED:
        pixels, world = arrays_of(recorded(view.video, model, cache, **options))
        flat = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
        ways |= {"metres": angles_deg(world), "image": angles_deg(flat)}
    if not take.mirrored:
        return ways, None, tilts
    copy, _ = as_reported(take, mirrored_copy(view.video, cache), model, cache, **options)
    return ways, copy[:, OTHER_SIDE], tilts


def as_reported(take, video, model, cache, **options):
    """Return the angles (N, 12) of a recording as the report measures them, and the tilts (N, 12), in degrees."""
    with av.open(str(video)) as container:
        size = container.streams.video[0].width, container.streams.video[0].height
    bodies = recorded(video, model, cache, averaged=True, **options)
    return track_angles(uncut_bodies(bodies, size, take.rate_hz), take.rate_hz)


def columns_of(joint):
    """Return the columns of both sides of a joint."""
    return [k for k, name in enumerate(ANGLES) if errors.joint_of(name) == joint]


def range_of(values):
    known = values[np.isfinite(values)]
    return float(np.ptp(np.percentile(known, errors.PERCENTILES))) if len(known) >= MIN_FRAMES else np.nan


def mean(values):
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def statistics(way, joint, results):
    """Return the errors of a joint in degrees, by view and over all views, of results by take and view."""
    views = {name: [] for name in errors.VIEWS}
    ranges, mirrored, spreads, differences = [], [], [], []
    for found_of_take in results:
        means, errors_of_take = [], []
        for view, angles, other, tilts in found_of_take:
            found = angles[way]
            for k in columns_of(joint):
                error = found[:, k] - view.truth[:, k]
                which = errors.view_indices(tilts[:, k])
                for number, name in enumerate(errors.VIEWS):
                    views[name].extend(error[(which == number) & np.isfinite(error)])
                both = np.isfinite(error)
                errors_of_take.append(range_of(found[both, k]) - range_of(view.truth[both, k]))
                if other is not None:
                    mirrored.append(abs(range_of(found[:, k]) - range_of(other[:, k])))
            means.append(found[:, columns_of(joint)])
        ranges += errors_of_take
        differences.append(differences_of(np.reshape(errors_of_take, (len(means), -1))))
        known = np.isfinite(means).sum(0) > 1
        spreads.append(mean(np.nanstd(np.array(means)[:, known], axis=0, ddof=1)))
    everything = np.concatenate([np.array(values) for values in views.values()])
    rows = {name: summary(np.array(values)) for name, values in {**views, "all": everything}.items()}
    return {
        "views": rows,
        "range_error": rounded(mean(np.abs(ranges))),
        "range_percentile_95": rounded(percentile_95(ranges)),
        "difference_percentile_95": rounded(
            np.fmax.reduce([percentile_95(np.concatenate(kind)) for kind in zip(*differences, strict=True)])
        ),
        "mirrored_range": rounded(mean(mirrored)),
        "mirrored_largest": rounded(np.nanmax(mirrored) if np.isfinite(mirrored).any() else np.nan),
        "between_cameras": rounded(mean(spreads)),
    }


def differences_of(range_errors):
    """Return the differences between range errors (V, S) of views and sides, between views (N,) and sides (V,)."""
    views = [first - second for first, second in combinations(range_errors, 2)]
    return np.ravel(views), np.ravel(np.diff(range_errors, axis=1))


def percentile_95(values):
    """Return the 95th percentile of the sizes of known values (N,), or NaN."""
    known = np.abs(values)[np.isfinite(values)]
    return float(np.percentile(known, 95)) if len(known) else np.nan


def combined(parts):
    """Return the means of the errors of several people, each of whom counts equally.

    Of the errors of differences, the largest is returned, so that 95 % of the differences of each person are smaller.
    """
    views = {}
    for view in (*errors.VIEWS, "all"):
        rows = [part["views"][view] for part in parts]
        views[view] = {
            name: rounded(mean_known(row[name] for row in rows)) for name in ("mean", "bias", "percentile_95")
        }
        views[view] = {"frames": sum(row["frames"] for row in rows), **views[view]}
    ends = {name: rounded(mean_known(part[name] for part in parts)) for name in ENDS}
    ends["difference_percentile_95"] = max(part["difference_percentile_95"] or 0 for part in parts) or None
    return {"views": views} | ends


def mean_known(values):
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else np.nan


def summary(error):
    """Return frames, mean error, bias and 95th percentile of errors (N,)."""
    if not len(error):
        return {"frames": 0, "mean": None, "bias": None, "percentile_95": None}
    size = np.abs(error)
    return {
        "frames": len(error),
        "mean": rounded(size.mean()),
        "bias": rounded(error.mean()),
        "percentile_95": rounded(np.percentile(size, 95)),
    }


def rounded(value):
    return None if not np.isfinite(value) else round(float(value), 1)


def table_lines(models):
    """Yield the Markdown table of the errors by model and joint."""
    heading = "| model | angle | view | frames | mean error | bias | 95 % below | range | 95 % of ranges |"
    yield f"{heading} 95 % of differences | mirrored | largest | between cameras |"
    yield f"|---|---|---|{'---:|' * 10}"
    for model, joints in models.items():
        for joint, found in joints.items():
            for view, row in found["views"].items():
                ends = [found[name] if view == "all" else "" for name in ENDS]
                cells = [model, joint, view, *row.values(), *ends]
                yield f"| {' | '.join('–' if cell is None else str(cell) for cell in cells)} |"


def way_lines(results):
    """Yield a Markdown table that compares the ways to measure an angle, for each group of takes."""
    joints = errors.JOINTS
    yield f"| takes | mean error | view | {' | '.join(joints)} |"
    yield f"|---|---|---|{'---:|' * len(joints)}"
    for group, title in GROUPS.items():
        for model in (each for each in results if results[each][group]):
            for way in WAYS if model == COMPARED else ("report",):
                found = [statistics(way, joint, results[model][group])["views"] for joint in joints]
                for view in (*errors.VIEWS, "all") if model == COMPARED else ("all",):
                    means = [views[view]["mean"] for views in found]
                    cells = ["–" if value is None else str(value) for value in means]
                    yield f"| {title} | `{model}`, {TITLES[way]} | {view} | {' | '.join(cells)} |"


def takes_of(options):
    """Return all takes."""
    folder, cache = options.data, options.cache
    balance = takes.cameras_take("balance", "man", folder / "Demo_SinglePerson", cache, left_out=False)
    partner = takes.cameras_take(
        "partner", "woman", folder / "Demo_MultiPerson", cache, left_out=True, people=2, places=PLACES
    )
    rendered = cache / "figures"
    figures.render(options.figure, rendered)
    return [balance, partner, *takes.figure_takes(rendered, figures.RATE_HZ)]


def is_measured(take, model):
    """Return whether a model is measured on a take: figures are measured with the default model only."""
    return model == COMPARED or take.residual_px is not None


def origin_of(chosen):
    people = {take.person: take.residual_px is not None for take in chosen}
    return {
        "people": sum(people.values()),
        "figures": len(people) - sum(people.values()),
        "movements": len(chosen),
        "recordings": sum(len(take.views) for take in chosen),
        "frames": sum(len(view.truth) for take in chosen for view in take.views),
    }


def content_of(everything, results):
    """Return the content of the file of errors. Models without results keep theirs."""
    before = json.loads(errors.FILE.read_text("utf-8"))
    measured_takes = {model: [take for take in everything if is_measured(take, model)] for model in results}
    models = {}
    for model, groups in results.items():
        people = [[found for group in names for found in groups[group]] for names in PEOPLE]
        models[model] = {
            joint: combined([statistics("report", joint, found) for found in people if found])
            for joint in errors.JOINTS
        }
    return {
        "command": "python benchmarks/one_camera.py --data Pose2Sim --figure FIGURE --cache CACHE --write",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "origins": before["origins"] | {model: origin_of(chosen) for model, chosen in measured_takes.items()},
        "models": before["models"] | models,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with Demo_SinglePerson and Demo_MultiPerson")
    parser.add_argument("--figure", type=Path, required=True, help="GLB file of a figure, see benchmarks/figures.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and keypoints")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="the others keep their results")
    parser.add_argument("--write", action="store_true", help="into the package")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    everything = takes_of(options)
    results = {model: {group: [] for group in GROUPS} for model in options.models}
    for take in everything:
        for model in (each for each in options.models if is_measured(take, each)):
            found = [(view, *measured(take, view, model, options.cache)) for view in take.views]
            results[model][group_of(take)].append(found)
    content = content_of(everything, results)
    lines = [
        f"{content['date']}, {content['machine']}, `{content['command']}`.",
        "",
        *way_lines(results),
        "",
        *table_lines(content["models"]),
    ]
    print("\n".join(lines))
    if options.write:
        write_section("measured.md", "python benchmarks/one_camera.py --write", "\n".join(lines))
        errors.FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Figures as plain data: what a test can read of one, and a figure that reads the same.

A description is made of dicts, lists, numbers and arrays. From it, `build` draws the
lines, bars, marks, images and texts again, in the axes' scale, limits and ticks. Fonts,
spines and layout are not kept, as no test reads them.
"""

from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
from matplotlib import collections, container
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

COMMON = ["label", "alpha", "visible", "zorder"]
LINE = [
    "color", "linestyle", "linewidth", "marker", "markersize", "markerfacecolor",
    "markeredgecolor", "markeredgewidth", "drawstyle", *COMMON,
]  # fmt: skip
PATCH = ["facecolor", "edgecolor", "linewidth", "linestyle", "hatch", "fill", *COMMON]
COLLECTION = ["facecolor", "edgecolor", "linewidth", *COMMON]
TEXT = ["text", "color", "fontsize", "fontweight", "rotation", "ha", "va", "visible"]
SCALES = {
    "linear": [], "log": ["base"], "symlog": ["base", "linthresh", "linscale"], "logit": [],
}  # fmt: skip
SIDES = ("left", "center", "right")
GROUPS = ("lines", "patches", "collections")
CONTAINERS = {
    "bar": container.BarContainer,
    "errorbar": container.ErrorbarContainer,
    "stem": container.StemContainer,
}


def describe(figure: Figure) -> dict:
    """All that `build` needs, as plain data."""
    return {
        "size": figure.get_size_inches().tolist(),
        "facecolor": figure.get_facecolor(),
        "suptitle": figure.get_suptitle(),
        "supxlabel": figure.get_supxlabel(),
        "supylabel": figure.get_supylabel(),
        "axes": [_axes(axes) for axes in figure.axes],
        "legends": [_legend(legend) for legend in figure.legends],
    }


def build(description: dict, figure: Figure) -> Figure:
    """Draw what was described on an empty figure, and return it."""
    figure.set_size_inches(*description["size"])
    figure.set_facecolor(description["facecolor"])
    for name in ("suptitle", "supxlabel", "supylabel"):
        if description[name]:
            getattr(figure, name)(description[name])
    for axes in description["axes"]:
        _build_axes(axes, figure)
    for legend in description["legends"]:
        _build_legend(legend, figure)
    return figure


def _simple(value: object) -> bool:
    """Whether a property is plain data, and no object of matplotlib."""
    if isinstance(value, (list, tuple)):
        return all(map(_simple, value))
    return value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))


def _properties(artist: object, names: Iterable[str]) -> dict:
    values = {name: getattr(artist, f"get_{name}")() for name in names}
    return {name: value for name, value in values.items() if _simple(value)}


# -- axes --------------------------------------------------------------------------------


def _axes(axes: Axes) -> dict:
    drawn = {group: list(getattr(axes, group)) for group in GROUPS}
    return {
        "position": list(axes.get_position().bounds),
        "polar": axes.name == "polar",
        "facecolor": axes.get_facecolor(),
        "visible": axes.get_visible(),
        "label": str(axes.get_label()),
        "titles": [axes.get_title(loc=side) for side in SIDES],
        "x": _axis(axes.xaxis, axes.get_xlim()),
        "y": _axis(axes.yaxis, axes.get_ylim()),
        "lines": [_line(line, axes) for line in drawn["lines"]],
        "patches": [_patch(patch, axes) for patch in drawn["patches"]],
        "collections": [_collection(group, axes) for group in drawn["collections"]],
        "images": [_image(i) for i in axes.images if isinstance(i, AxesImage)],
        "texts": [_properties(t, TEXT) | {"place": list(t.get_position())} for t in axes.texts],
        "containers": [_container(c, drawn) for c in axes.containers],
        "legend": _legend(axes.get_legend()) if axes.get_legend() else None,
    }


def _build_axes(its: dict, figure: Figure) -> None:
    axes = figure.add_axes(its["position"], polar=bool(its["polar"]), label=its["label"])
    axes.set(facecolor=its["facecolor"], visible=its["visible"])
    for side, title in zip(SIDES, its["titles"], strict=True):
        axes.set_title(title, loc=side)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        _build_scale(axis, its[name])
    drawn = {
        "lines": [_build_line(line, axes) for line in its["lines"]],
        "patches": [_build_patch(patch, axes) for patch in its["patches"]],
        "collections": [_build_collection(group, axes) for group in its["collections"]],
    }
    for image in its["images"]:
        _build_image(image, axes)
    for text in its["texts"]:
        place = text.pop("place")
        axes.text(*place, "").set(**{name: text[name] for name in TEXT if name in text})
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        _build_ticks(axis, its[name])
    axes.set(xlim=its["x"]["limits"], ylim=its["y"]["limits"])
    for group in its["containers"]:
        axes.add_container(_build_container(group, drawn))
    if its["legend"]:
        _build_legend(its["legend"], axes)


def _axis(axis: Axis, limits: tuple[float, float]) -> dict:
    name, transform = axis.get_scale(), axis.get_transform()
    grid = axis.get_gridlines()
    return {
        "scale": name if name in SCALES else "linear",
        "options": {option: getattr(transform, option) for option in SCALES.get(name, [])},
        "limits": [float(limit) for limit in limits],
        "ticks": [float(tick) for tick in axis.get_ticklocs()],
        "minor": [float(tick) for tick in axis.get_ticklocs(minor=True)],
        "names": [text.get_text() for text in axis.get_ticklabels()],
        "label": axis.get_label_text(),
        "visible": axis.get_visible(),
        "grid": bool(grid) and grid[0].get_visible(),
    }


def _build_scale(axis: Axis, its: dict) -> None:
    options = {name: its["options"][name] for name in SCALES[its["scale"]]}
    axis.axes.set(**{f"{axis.axis_name}scale": its["scale"]})
    if options:
        getattr(axis.axes, f"set_{axis.axis_name}scale")(its["scale"], **options)


def _build_ticks(axis: Axis, its: dict) -> None:
    axis.set_ticks(its["ticks"])
    if len(its["names"]) == len(its["ticks"]):
        axis.set_ticks(its["ticks"], its["names"])
    elif not its["names"]:
        axis.set_tick_params(labelbottom=False, labelleft=False, labeltop=False, labelright=False)
    axis.set_ticks(its["minor"], minor=True)
    axis.set_label_text(its["label"])
    axis.set_visible(its["visible"])
    axis.grid(its["grid"])


# -- what is drawn in them ---------------------------------------------------------------


def _transform(artist: object, axes: Axes) -> str:
    """In which coordinates an artist is given."""
    used = artist.get_data_transform() if isinstance(artist, Patch) else artist.get_transform()
    return next((name for name, known in _transforms(axes).items() if used == known), "data")


def _transforms(axes: Axes) -> dict:
    return {
        "data": axes.transData,
        "axes": axes.transAxes,
        "x": axes.get_xaxis_transform(),
        "y": axes.get_yaxis_transform(),
    }


def _place(artist: object, its: dict, axes: Axes) -> None:
    artist.set_transform(_transforms(axes)[its["transform"]])


def _line(line: Line2D, axes: Axes) -> dict:
    its = _properties(line, LINE) | {"transform": _transform(line, axes)}
    for axis, data in (("x", line.get_xdata()), ("y", line.get_ydata())):
        named = isinstance(data, np.ndarray) and data.dtype.kind in "OUS"
        its[axis] = [str(value) for value in data] if named else data
    return its


def _build_line(its: dict, axes: Axes) -> Line2D:
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if isinstance(its[name], list) and any(isinstance(v, str) for v in its[name]):
            axis.update_units(its[name])
    line = Line2D(its["x"], its["y"])
    line.set(**{name: its[name] for name in LINE if name in its})
    if its["transform"] != "data":
        _place(line, its, axes)
    return axes.add_line(line)


def _patch(patch: Patch, axes: Axes) -> dict:
    its = _properties(patch, PATCH) | {"transform": _transform(patch, axes)}
    if isinstance(patch, Rectangle):
        corner = [patch.get_xy(), patch.get_width(), patch.get_height(), patch.get_angle()]
        return its | {"rectangle": [[float(x) for x in corner[0]], *map(float, corner[1:])]}
    return its | {"path": _path(patch.get_patch_transform().transform_path(patch.get_path()))}


def _build_patch(its: dict, axes: Axes) -> Patch:
    if "rectangle" in its:
        corner, width, height, angle = its["rectangle"]
        patch = Rectangle(corner, width, height, angle=angle)
    else:
        patch = PathPatch(_build_path(its["path"]))
    patch.set(**{name: its[name] for name in PATCH if name in its})
    if its["transform"] != "data":
        _place(patch, its, axes)
    return axes.add_patch(patch)


def _path(path: Path) -> list:
    return [np.asarray(path.vertices, float), path.codes]


def _build_path(its: list) -> Path:
    return Path(*its)


def _collection(group: collections.Collection, axes: Axes) -> dict:
    its = _properties(group, COLLECTION) | {"transform": _transform(group, axes)}
    its["shape"] = "paths"
    if isinstance(group, collections.LineCollection):
        its |= {"shape": "segments", "segments": [np.array(s) for s in group.get_segments()]}
    elif isinstance(group, collections.PolyCollection):
        its["shape"] = "polygons"
    its["paths"] = [_path(path) for path in group.get_paths() or ()]
    if isinstance(group, collections.PathCollection):
        offsets = np.ma.filled(np.ma.asarray(group.get_offsets(), float), np.nan)
        its |= {"offsets": offsets, "sizes": group.get_sizes()}
    return its | _colours(group)


def _build_collection(its: dict, axes: Axes) -> collections.Collection:
    paths = [_build_path(path) for path in its["paths"]]
    if its["shape"] == "segments":
        group = collections.LineCollection(its["segments"])
    elif its["shape"] == "polygons":
        group = collections.PolyCollection([])
        group.set_verts_and_codes([p.vertices for p in paths], [p.codes for p in paths])
    elif "offsets" in its:
        group = collections.PathCollection(paths, its["sizes"], offsets=its["offsets"])
        group.set_offset_transform(axes.transData)
        group.set_transform(IdentityTransform())
    else:
        group = collections.Collection()
        group.set_paths(paths)
    if its["transform"] != "data" and "offsets" not in its:
        _place(group, its, axes)
    _build_colours(its, group)
    group.set(**{name: its[name] for name in COLLECTION if name in its})
    return axes.add_collection(group, autolim=False)


def _image(image: AxesImage) -> dict:
    its = {"extent": [float(edge) for edge in image.get_extent()], "origin": image.origin}
    return its | _colours(image) | _properties(image, COMMON)


def _build_image(its: dict, axes: Axes) -> None:
    image = axes.imshow(its["array"], origin=its["origin"], extent=its["extent"], aspect="auto")
    _build_colours(its, image)
    image.set(**{name: its[name] for name in COMMON if name in its})


def _colours(mapped: mpl.cm.ScalarMappable) -> dict:
    """The numbers behind colours, and how they are mapped."""
    array = mapped.get_array()
    if array is None:
        return {}
    data = np.ma.asarray(array)
    data = np.ma.filled(data.astype(float), np.nan) if data.mask.any() else np.asarray(data)
    clim = [None if edge is None else float(edge) for edge in mapped.get_clim()]
    return {"array": data, "clim": clim, "cmap": mapped.get_cmap().name}


def _build_colours(its: dict, mapped: mpl.cm.ScalarMappable) -> None:
    if "array" in its:
        mapped.set_array(its["array"])
        mapped.set_clim(*its["clim"])
        if its["cmap"] in mpl.colormaps:
            mapped.set_cmap(its["cmap"])


# -- groups and legends ------------------------------------------------------------------


def _container(group: container.Container, drawn: dict) -> dict:
    """A group by the places of its members."""
    kind = next((k for k, cls in CONTAINERS.items() if isinstance(group, cls)), "")
    return {"kind": kind, "label": str(group.get_label()), "members": _members(tuple(group), drawn)}


def _members(member: object, drawn: dict) -> object:
    if isinstance(member, (tuple, list)):
        return [_members(part, drawn) for part in member]
    for group, artists in drawn.items():
        for place, artist in enumerate(artists):
            if artist is member:
                return {"group": group, "place": place}
    return None


def _build_container(its: dict, drawn: dict) -> container.Container:
    members = _found(its["members"], drawn)
    made = CONTAINERS.get(its["kind"], container.Container)
    group = made(members)
    group.set_label(its["label"])
    return group


def _found(member: object, drawn: dict) -> object:
    if isinstance(member, list):
        return tuple(_found(part, drawn) for part in member)
    return drawn[member["group"]][member["place"]] if member else None


def _legend(legend: Legend) -> dict:
    texts = [text.get_text() for text in legend.get_texts()]
    title = legend.get_title().get_text()
    return {"texts": texts, "title": title, "visible": legend.get_visible()}


def _build_legend(its: dict, place: Axes | Figure) -> None:
    samples = [Line2D([], []) for _ in its["texts"]]
    legend = place.legend(samples, ["" for _ in samples], title=its["title"] or None)
    legend.set_visible(its["visible"])
    for text, label in zip(legend.get_texts(), its["texts"], strict=True):
        text.set_text(label)

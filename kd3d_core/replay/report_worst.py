"""The clouds of a report: what is wrong in words, and as pictures."""

from collections.abc import Sequence

from kd3d_core.replay.report_data import Moment
from kd3d_core.replay.report_data import ReportData
from kd3d_core.replay.report_data import WorstFrame
from kd3d_core.replay.report_data import moments
from kd3d_core.replay.report_data import places
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import bullets
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_pictures import common_style
from kd3d_core.replay.report_pictures import draw_worst
from kd3d_core.replay.report_words import bag_name
from kd3d_core.replay.report_words import counted


def worst_frames(data: ReportData) -> Html:
    """The clouds on which the models disagree most, drawn from above."""
    if not data.worst:
        return Html()
    style = common_style(data.worst, data.agreement.rings)
    legend = tag(
        "p",
        tag("span", "both models", class_="key agreed"),
        tag("span", "missed: only the teacher", class_="key missed"),
        tag("span", "extra: only the student", class_="key extra"),
        class_="legend",
    )
    cards = []
    when = moments(data)
    for rank, (worst, place) in enumerate(zip(data.worst, places(data), strict=True), 1):
        pictures = draw_worst(worst, style)
        whole = tag("img", src=pictures.map, alt=f"Cloud {rank} from above", class_="map")
        crops = tag(
            "div",
            *(
                tag("figure", tag("img", src=uri, alt=f"Square {name}"), tag("figcaption", name))
                for name, uri in pictures.crops
            ),
            class_="crops",
        )
        words = _worst_words(rank, worst, when[place], data.sources)
        cards.append(
            tag("article", words, tag("div", whole, crops, class_="pictures"), id=f"worst-{rank}")
        )
    title = f"The worst {counted(len(cards), 'cloud')}" if len(cards) > 1 else "The worst cloud"
    return tag("section", tag("h2", title), legend, *cards)


def _worst_words(rank: int, worst: WorstFrame, moment: Moment, sources: Sequence[str]) -> Html:
    """Heading and reasons of a cloud."""
    frame = worst.frame
    where = f" of {bag_name(sources[moment.bag])}" if sources else ""
    counts = f"{frame.pairs} agreed, {frame.missed} missed, {frame.extra} extra"
    return tag(
        "div",
        tag("h3", tag("span", str(rank), class_="rank"), f"{moment.seconds:.1f} s{where}"),
        tag("p", f"{counts}; disagreement {frame.score:.2f}", class_="quiet"),
        bullets(frame.reasons),
        tag("p", frame.source, class_="source"),
    )

"""What all dashboards share: queries, panels, their places, and the frame around them.

In an expression `{@server}` and `{@model}` stand for the label filters of the variables that every dashboard has, so that a
panel names only what is its own: `rate(ts_batch_size_sum{@model}[$__rate_interval])`.
"""

SERVER = 'job=~"$job",instance=~"$instance"'
MODEL = SERVER + ',model_name=~"$model_name"'

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# One meaning, one colour, on all dashboards.
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
COLOURS = {
    "p50": GREEN, "p95": ORANGE, "p99": RED,
    "2xx": GREEN, "3xx": BLUE, "4xx": YELLOW, "5xx": RED,
    "waiting": PURPLE, "batch size": BLUE, "GPU memory": GREEN,
    "used": BLUE, "limit": RED, "throttled": RED,
    "parsed": GREEN, "ignored": BLUE, "rejected": RED, "torn": YELLOW,
}

ROW_HEIGHT = 8
COLUMNS = 24


def filled(expression):
    """The expression with its label filters, on one line."""
    return " ".join(expression.replace("{@server", "{" + SERVER).replace("{@model", "{" + MODEL).split())


def query(expression, legend="", **more):
    """One query; `instant=True` for the value of now, `exemplar=True` to show requests as points."""
    kind = "instant" if more.pop("instant", False) else "range"
    target = {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": filled(expression),
        "instant": kind == "instant",
        "range": kind == "range",
        "legendFormat": legend or "__auto",
    }
    return target | more


def quantiles(histogram, labels, **more):
    """The median and the two quantiles that are watched, of all series together."""
    return [
        query(f"histogram_quantile({number}, sum by (le) (rate({histogram}_bucket{{{labels}}}[$__rate_interval])))",
              f"p{number[2:].ljust(2, '0')}", **more)
        for number in ("0.5", "0.95", "0.99")
    ]


def quantile(number, histogram, labels, by):
    """One quantile of a histogram, by these labels."""
    rate = f"rate({histogram}_bucket{{{labels}}}[$__rate_interval])"
    return f"histogram_quantile({number}, sum by (le, {by}) ({rate}))"


def mean(histogram, labels, by):
    """The mean of what a histogram has seen."""
    part = "sum by ({by}) (rate({name}{{{labels}}}[$__rate_interval]))"
    parts = [part.format(by=by, name=f"{histogram}_{half}", labels=labels) for half in ("sum", "count")]
    return " / ".join(parts)


def override(name, **properties):
    """What is different for one series, or for all whose name matches `/…/`."""
    matcher = "byRegexp" if name.startswith("/") else "byName"
    listed = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": name}, "properties": listed}


def colour(name, value):
    return override(name, color={"mode": "fixed", "fixedColor": value})


def steps(first=GREEN, **later):
    """Thresholds: `steps(yellow=0.01, red=0.05)`."""
    above = [{"color": name, "value": value} for name, value in later.items()]
    return {"mode": "absolute", "steps": [{"color": first, "value": None}, *above]}


def panel(kind, title, unit, description, queries, *, width=8, height=ROW_HEIGHT, runbook=None, thresholds=None,
          options=None, custom=None, defaults=None, overrides=(), **more):
    """The part that all kinds of panels have; `queries` is one, or a list."""
    queries = queries if isinstance(queries, list) else [queries]
    for number, target in enumerate(queries):
        target["refId"] = chr(ord("A") + number)
    field = {"unit": unit, "thresholds": thresholds or steps(), "custom": custom or {}} | (defaults or {})
    known = [colour(name, COLOURS[name]) for name in COLOURS if any(name == q["legendFormat"] for q in queries)]
    drawn = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "pluginVersion": "10.0.0",
        "targets": queries,
        "fieldConfig": {"defaults": field, "overrides": known + list(overrides)},
        "options": options or {},
        "gridPos": {"w": width, "h": height},
    }
    if runbook:
        url = f"${{runbook}}#{runbook.lower()}"
        drawn["links"] = [{"title": f"Runbook: {runbook}", "url": url, "targetBlank": True}]
    return drawn | more


def lines(title, unit, description, queries, *, stacked=False, limit=None, least=0, most=None, **more):
    """Values over time. With `limit` the thresholds are drawn as lines; `least` is where the axis begins."""
    custom = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if stacked else 8, "showPoints": "never",
        "spanNulls": False, "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if limit else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    # The name decides the colour, so a model or a GPU looks the same in every panel.
    defaults = {"color": {"mode": "palette-classic-by-name"}}
    defaults |= {"min": least} if least is not None else {}
    defaults |= {"max": most} if most is not None else {}
    return panel("timeseries", title, unit, description, queries, thresholds=limit, custom=custom, options=options,
                 defaults=defaults, **more)


def heat(title, unit, description, histogram, labels, *, exemplar=False, **more):
    """How many observations fell into each bucket of a histogram, over time."""
    increase = f"sum by (le) (increase({histogram}_bucket{{{labels}}}[$__rate_interval]))"
    options = {
        "calculate": False, "cellGap": 1, "filterValues": {"le": 1e-9}, "showValue": "never",
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange", "reverse": False,
                  "scale": "exponential", "steps": 64},
        "exemplars": {"color": "rgba(87,148,242,0.9)"},
        "legend": {"show": True}, "rowsFrame": {"layout": "auto"}, "tooltip": {"mode": "single", "show": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    target = query(increase, "{{le}}", format="heatmap", exemplar=exemplar)
    return panel("heatmap", title, unit, description, target, options=options, **more)


def stat(title, unit, description, expression, *, thresholds=None, mappings=(), width=4, graph=True, **more):
    """One number, and its course behind it."""
    options = {
        "colorMode": "value", "graphMode": "area" if graph else "none", "justifyMode": "auto", "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "auto",
    }
    defaults = {"color": {"mode": "thresholds"}, "mappings": list(mappings), "noValue": "none"}
    return panel("stat", title, unit, description, query(expression), thresholds=thresholds, options=options,
                 defaults=defaults, width=width, height=4, **more)


def table(title, description, columns, *, unit="short", hidden=(), **more):
    """A row per label set, a column per query: `columns` are (heading, unit, expression), in the order of the columns.

    An expression without a heading brings labels only.
    """
    queries, names, overrides = [], {}, []
    for number, (heading, of, expression) in enumerate(columns):
        queries.append(query(expression, instant=True, format="table"))
        column = f"Value #{chr(ord('A') + number)}"
        if heading:
            names[column] = heading
            overrides.append(override(heading, unit=of))
        else:
            hidden = (*hidden, column)
    hide = {name: True for name in ("Time", "__name__", *hidden)}
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hide, "indexByName": {}, "renameByName": names}},
    ]
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    custom = {"align": "auto", "filterable": True}
    return panel("table", title, unit, description, queries, custom=custom, options=options, overrides=overrides,
                 transformations=transformations, **more)


def on_off(yes="yes", no="no", good=True):
    """How 1 and 0 are shown."""
    colours = (GREEN, RED) if good else (RED, GREEN)
    texts = {"1": {"text": yes, "color": colours[0], "index": 0}, "0": {"text": no, "color": colours[1], "index": 1}}
    return [{"type": "value", "options": texts}]

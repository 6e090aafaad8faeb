"""The frame around panels: places on the grid, variables, links between dashboards."""

from panels import COLUMNS, DATASOURCE, filled

# Where people read deploy/prometheus/runbook.md; a panel's link adds the name of its entry, which is that of an alert.
RUNBOOK = "https://example.org/deploy/prometheus/runbook.md"


def row(title, *panels, collapsed=False):
    """A row of panels under one heading."""
    return {"title": title, "panels": panels, "collapsed": collapsed}


def label_values(name, label, metric, text, **more):
    """A variable with the values of a label, of which any number can be chosen."""
    expression = filled(f"label_values({metric}, {label})")
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "type": "query", "name": name, "label": text, "datasource": DATASOURCE, "definition": expression,
        "query": {"qryType": 1, "query": expression, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        # An expression is shorter than a thousand names, and a series without the label is in it.
        "multi": True, "includeAll": True, "allValue": ".*", "current": everything,
        # Asked again when the time range changes, in the order of the alphabet.
        "refresh": 2, "sort": 1, "regex": "", "hide": 0, "skipUrlSync": False, "options": [],
    } | more


def choice(name, text, values):
    """A variable with fixed values; the first one is chosen."""
    options = [{"text": value, "value": value, "selected": number == 0} for number, value in enumerate(values)]
    return {
        "type": "custom", "name": name, "label": text, "query": ",".join(values), "options": options,
        "current": options[0], "multi": False, "includeAll": False, "hide": 0, "skipUrlSync": False,
    }


def chosen_servers(metric="inferometer_build_info"):
    """The variables that `{@server}` asks for."""
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "regex": "",
         "current": {}, "options": [], "refresh": 1, "multi": False, "includeAll": False, "hide": 0, "skipUrlSync": False},
        label_values("job", "job", metric, "Job"),
        label_values("instance", "instance", metric + '{job=~"$job"}', "Instance"),
    ]


def chosen_models(metric):
    """The variables that `{@model}` asks for."""
    return [*chosen_servers(metric), label_values("model_name", "model_name", metric + "{@server}", "Model")]


def started(name, expression, colour, text):
    """A mark at each time that is a value of the expression, in seconds since 1970."""
    return {
        "name": name, "enable": True, "hide": False, "datasource": DATASOURCE, "iconColor": colour,
        "expr": filled(f"1000 * {expression}"),
        "useValueForTime": True, "titleFormat": name, "textFormat": text, "tagKeys": "", "step": "60s",
    }


def dashboard(uid, title, description, variables, rows, annotations=()):
    """A whole dashboard, as Grafana keeps it."""
    constant = {"type": "constant", "name": "runbook", "label": "Runbook", "query": RUNBOOK, "hide": 2, "skipUrlSync": True,
                "current": {"text": RUNBOOK, "value": RUNBOOK}, "options": []}
    others = {"type": "dashboards", "title": "inferometer", "tags": ["inferometer"], "asDropdown": True,
              "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link", "url": ""}
    return {
        "uid": f"inferometer-{uid}",
        "title": title,
        "description": description,
        "tags": ["inferometer"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [others],
        "annotations": {"list": list(annotations)},
        "templating": {"list": [*variables, constant]},
        "panels": placed(rows),
    }


def placed(rows):
    """All panels with their places: from left to right, and on when a line is full."""
    panels, bottom = [], 0
    for heading in rows:
        top = {"type": "row", "title": heading["title"], "collapsed": heading["collapsed"], "panels": []}
        top |= {"id": numbered(panels), "gridPos": {"x": 0, "y": bottom, "w": COLUMNS, "h": 1}}
        panels.append(top)
        bottom += 1
        left, height = 0, 0
        for panel in heading["panels"]:
            place = panel["gridPos"]
            if left + place["w"] > COLUMNS:
                left, bottom, height = 0, bottom + height, 0
            panel["gridPos"] = {"x": left, "y": bottom} | place
            left, height = left + place["w"], max(height, place["h"])
            inside = top["panels"] if heading["collapsed"] else panels
            inside.append({"id": numbered(panels)} | panel)
        bottom += height
    return panels


def numbered(panels):
    """The next number: those of a collapsed row count, too."""
    return 1 + sum(1 + len(panel.get("panels", [])) for panel in panels)

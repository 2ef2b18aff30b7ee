from pathlib import Path

from benchmarks import against


def test_each_side_sees_its_own_code_and_what_its_process_cost_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "src" / "shoptalk").mkdir(parents=True)
    (other / "src" / "shoptalk" / "__init__.py").write_text("")
    script = "import shoptalk, time; print(shoptalk.__file__); [i * i for i in range(10**6)]"
    for tree in (against.ROOT, other):
        printed, cost = against.Side(tree, tmp_path, threads=1).run(["-c", script])
        assert Path(printed.strip()).parent.parent == tree / "src"
        assert 0 < cost["cpu_seconds"] < 60 and cost["seconds"] > 0 and cost["peak_rss_mib"] > 5


def test_three_per_cent_worse_than_the_other_checkout_is_allowed_and_more_is_not() -> None:
    slow, fast = [{"seconds": 1.05}] * 3, [{"seconds": 1.0}] * 3
    assert against.row("help", "seconds", "s", (fast, slow), faster=False).met
    assert not against.row("help", "seconds", "s", (slow, fast), faster=False).met
    assert against.row("embed", "seconds", "texts/s", (slow, fast), faster=True).met
    assert not against.row("embed", "seconds", "texts/s", (fast, slow), faster=True).met


def test_the_few_labels_of_predict_have_every_class_alike(tmp_path: Path) -> None:
    lines = against.few_labels(tmp_path).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "text,label" and len(lines) == 1 + 3 * 12

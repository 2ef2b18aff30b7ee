import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.config import TEMPLATE, Budget, Config, TrainConfig, did_you_mean, load, validate
from shoptalk.errors import ConfigError
from shoptalk.quantities import money
from shoptalk.records import Document, Frozen, Reading


def test_the_template_shows_exactly_the_defaults(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text(TEMPLATE, encoding="utf-8")
    assert load(path) == Config()


def test_the_template_names_every_setting():
    for section in (Config, *(type(value) for value in vars(Config()).values() if isinstance(value, Frozen))):
        for name in section.model_fields:
            if name == "price_per_hour":  # shown as a comment: it has no default
                assert f"\n# {name} = " in TEMPLATE
            elif name != "objectives":  # shown as a comment: a spec's own settings
                assert f"\n{name} = " in TEMPLATE or f"\n[{name}]" in TEMPLATE, name


def test_the_example_in_the_template_is_a_real_setting(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text(TEMPLATE.replace("# [objectives", "[objectives").replace("# lr", "lr"), encoding="utf-8")
    assert load(path).objectives == {"neighbours": {"lr": 6e-5}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shotz=5", r"Unknown setting 'shotz'\. Did you mean 'shots'\?"),
        ("train.clpi=1", r"Unknown setting 'train\.clpi'\. Did you mean 'clip'\?"),
        ("curate.text_colum='x'", r"Unknown setting 'curate\.text_colum'\. Did you mean 'text_column'\?"),
        ("trian.clip=1", r"Unknown setting 'trian'\. Did you mean 'train'\?"),
        ("guards.zzz=1", r"Unknown setting 'guards\.zzz'\. There is: forgetting, tasks, general_bits, general_cloze\."),
    ],
)
def test_a_misspelt_setting_is_told_its_nearest_name(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load(overrides=[override])


def test_a_misspelt_setting_in_a_file_is_told_its_nearest_name(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text("[train]\nwarmpu = 0.1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'train\.warmpu'.*'warmup'"):
        load(path)


def test_all_complaints_come_at_once():
    with pytest.raises(ConfigError) as caught:
        load(overrides=["shots=0", "train.clip=-1"])
    assert "shots = 0" in str(caught.value)
    assert "train.clip = -1" in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "shots=0",
        "shots=2.5",
        "draws=4",
        "smallest_gain=nan",
        "train.warmup=1.0",
        "seed=many",
        "seed=-1",
        "seed=99999999999999999999",
        "train=3",
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_given(override: str):
    key, _, text = override.partition("=")
    with pytest.raises(ConfigError, match=f"{key} = '?{text}"):
        load(overrides=[override])


@pytest.mark.parametrize(
    ("text", "seconds", "tokens"),
    [
        ("90s", 90, None),
        ("10m", 600, None),
        ("1.5h", 5400, None),
        (" 2 h ", 7200, None),
        ("7tok", None, 7),
        ("500ktok", None, 500_000),
        ("3Mtok", None, 3_000_000),
        ("0.5tok", None, 1),
    ],
)
def test_a_budget_is_a_time_or_a_number_of_tokens(text: str, seconds: float | None, tokens: int | None):
    assert Budget.parse(text) == Budget(seconds=seconds, tokens=tokens)


@pytest.mark.parametrize("text", ["", "10", "0m", "0.0h", "-5m", "10 minutes", "3mtok", "m", "1e3s", "9" * 400 + "tok",
                                  "0eur", "3eur@", "10m@1.20", "1.2EUR"])  # fmt: skip
def test_what_is_no_budget_is_refused_with_examples(text: str):
    with pytest.raises(
        ConfigError, match=r"is not a budget.*90s, 10m or 1\.5h.*500ktok or 3Mtok.*0\.50eur --price 1\.20"
    ):
        load(overrides=[f'budget="{text}"'])


def test_euros_buy_hours_at_their_price():
    budget = load(budget="0.50eur", price_per_hour=1.2).limits()
    assert (budget.seconds, budget.tokens, budget.euros) == (None, None, 0.5)
    assert budget.time == pytest.approx(0.5 / 1.2 * 3600) == pytest.approx(1500)
    assert load(budget="0.50eur@1.20").limits() == budget == load(budget=" 0.5 eur@1.2", price_per_hour=1.2).limits()


def test_a_price_limits_nothing_where_the_budget_is_not_money():
    for text in ("10m", "3Mtok"):
        plain, priced = load(budget=text).limits(), load(budget=text, price_per_hour=1.2).limits()
        assert (priced.time, priced.tokens) == (plain.time, plain.tokens)
        assert (plain.price_per_hour, priced.price_per_hour) == (None, 1.2)


def test_euros_without_a_price_are_refused_and_no_price_is_made_up():
    with pytest.raises(ConfigError, match=r"'0\.50eur' is money.*Expected both: add --price 1\.20.*0\.50eur@1\.20"):
        load(budget="0.50eur")


@pytest.mark.parametrize(
    ("text", "price", "message"),
    [
        ("2eur@1.20", 1.5, r"'2eur@1\.20' states one price.*states 1\.5 EUR"),
        ("2eur@0", None, r"a price of 0 EUR per hour sets no limit"),
        ("2eur@0." + "0" * 20 + "1", None, r"sets no limit"),
        ("2eur", -1.0, r"price_per_hour = -1\.0"),
    ],
)
def test_prices_that_cannot_be_meant_are_refused(text: str, price: float | None, message: str):
    with pytest.raises(ConfigError, match=message):
        load(budget=text, price_per_hour=price)


amounts = st.decimals(min_value="0.001", max_value=99_999, places=3)
prices = st.decimals(min_value="0.01", max_value=500, places=2)


@given(amounts, st.sampled_from(["s", "m", "h", "tok", "ktok", "Mtok"]))
def test_a_budget_that_is_written_out_reads_back_as_itself(amount: Decimal, unit: str):
    budget = Budget.parse(f"{amount}{unit}")
    assert Budget.parse(str(budget)) == budget


@given(amounts, prices)
def test_a_budget_in_euros_reads_back_as_itself_with_its_price(amount: Decimal, price: Decimal):
    budget = Budget.parse(f"{amount}eur", price_per_hour=float(price))
    assert Budget.parse(str(budget)) == budget
    assert budget.time == pytest.approx(float(amount / price * 3600))


@pytest.mark.parametrize(
    ("text", "written"), [("600s", "10m"), ("120m", "2h"), ("90s", "90s"), ("0.5s", "0.5s"), ("3000ktok", "3Mtok"),
                          ("1500tok", "1500tok"), ("0.50eur@1.20", "0.5eur@1.2")],
)  # fmt: skip
def test_a_budget_is_written_in_the_largest_unit_that_divides_it(text: str, written: str):
    assert str(Budget.parse(text)) == written


@pytest.mark.parametrize(
    ("euros", "text"),
    [
        (0.0, "0.00 EUR"), (0.0234, "0.023 EUR"), (0.5, "0.50 EUR"), (1.2, "1.20 EUR"), (12.345, "12.35 EUR"),
        (0.0000051, "0.0000051 EUR"),
    ],
)  # fmt: skip
def test_money_shows_two_decimals_that_matter(euros: float, text: str):
    assert money(euros) == text


def test_overrides_win_over_the_file_and_keywords_over_both(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text("shots = 1\nseed = 1\nbudget = '1m'\n[train]\nclip = 0.5\nwarmup = 0.0\n", encoding="utf-8")
    config = load(path, overrides=["seed=2", "train.clip=0.25", "budget=2m"], budget="3m", base=None)
    assert (config.shots, config.seed, config.budget, config.base) == (1, 2, "3m", "minilm")
    assert config.train == TrainConfig(clip=0.25, warmup=0.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("base=some/model", "some/model"),
        ("base = 'quoted' ", "quoted"),
        ("budget=3Mtok", "3Mtok"),
        ('candidates=["mlm", "none"]', ("mlm", "none")),
        ("seed=7", 7),
        ("smallest_gain=1e-1", 0.1),
    ],
)
def test_an_override_is_a_toml_value_or_else_plain_text(text: str, value: object):
    assert getattr(load(overrides=[text]), text.partition("=")[0].strip()) == value


def test_an_objectives_settings_pass_through_untouched():
    config = load(overrides=["objectives.simcse.lr=2e-5", "objectives.simcse.batch=8"])
    assert config.objectives == {"simcse": {"lr": 2e-5, "batch": 8}}


@pytest.mark.parametrize("item", ["seed", "=3", ""])
def test_an_override_without_a_key_or_a_sign_is_refused(item: str):
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        load(overrides=[item])


def test_an_override_cannot_go_inside_a_single_value():
    with pytest.raises(ConfigError, match=r"'seed' is a single value, not a section"):
        load(overrides=["seed=1", "seed.x=2"])


@pytest.mark.parametrize("content", [b"shots = ", b"\xff\xfe", b"shots = 1\nshots = 2\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "shoptalk.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"Cannot read .*shoptalk\.toml.*`shoptalk init`"):
        load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="Cannot read"):
        load(tmp_path / "nowhere.toml")


def test_a_complaint_carries_the_section_it_came_from():
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.x\.clpi'\. Did you mean 'clip'\?"):
        validate(TrainConfig, {"clpi": 1}, prefix="objectives.x")


def test_a_name_like_no_other_gets_the_list():
    assert did_you_mean("qqq", ["mlm", "simcse"]) == "There is: mlm, simcse."


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]


@given(st.floats(allow_nan=True), st.lists(st.floats(allow_nan=True), max_size=3))
def test_a_reading_survives_being_written_and_read(value: float, outcomes: list[float]):
    reading = Reading(key="x", name="x", value=value, unit="", n=1, outcomes=tuple(outcomes))
    again = Reading.model_validate_json(reading.model_dump_json())
    pairs = zip((value, *outcomes), (again.value, *again.outcomes), strict=True)
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def test_a_record_refuses_fields_that_it_does_not_know():
    with pytest.raises(ValueError, match="extra_forbidden"):
        Document(id="1", source="x", txt="hello")  # type: ignore[call-arg]


def test_the_first_of_several_bases_is_the_one_that_is_adapted():
    config = load(bases=("mpnet", "minilm"))
    assert (config.base, config.bases, config.other_bases) == ("mpnet", ("mpnet", "minilm"), ("minilm",))
    assert Config.model_validate(config.model_dump()) == config
    assert load(base="minilm", bases=("minilm", "mpnet")).other_bases == ("mpnet",)
    assert Config().other_bases == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"base": "mpnet", "bases": ("minilm", "mpnet")},
            r"^base = 'mpnet' is not the first of bases.*put 'mpnet' first",
        ),
        ({"bases": ("minilm", "minilm")}, r"'minilm' is named twice; name each base once"),
        ({"merges": (0.0,)}, r"expected different shares between 0 and 1, such as 0\.25"),
        ({"merges": (1.0,)}, r"expected different shares between 0 and 1"),
        ({"merges": (0.5, 0.5)}, r"expected different shares between 0 and 1"),
    ],
)
def test_bases_and_merges_that_contradict_themselves_are_refused(values: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        load(**values)


def test_the_sections_of_the_assistant_and_its_server_may_stand_in_the_same_file(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text('seed = 3\n[assistant]\nname = "Acme"\n[serve]\nthreads = 2\n', encoding="utf-8")
    assert load(path).seed == 3


def test_tasks_about_pictures_have_a_base_candidates_and_untrained_rivals_of_their_own():
    config = Config(task="picture")
    assert config.base == "scratch:resnet-mini" and config.other_bases == ("pixels", "hog")
    assert config.candidates == ("simclr", "moco", "byol", "dino", "mae", "none")
    larger = Config(task="picture", base="scratch:vit-nano@64")
    assert larger.bases == ("scratch:vit-nano@64", "pixels@64", "hog@64")
    assert Config(task="picture", base="google/vit-base-patch16-224").bases == ()
    assert Config(task="picture", bases=("scratch:vit-nano",)).other_bases == ()
    pairs = Config(task="caption")
    assert pairs.base == "scratch:resnet-mini+minilm" and pairs.bases == () and pairs.candidates == ("clip", "none")
    assert Config(task="caption", base="scratch:vit-nano+mpnet").base == "scratch:vit-nano+mpnet"
    assert Config(task="reply").base == Config().base == "minilm"


def test_a_settings_file_whose_bases_are_empty_gets_those_of_its_task(tmp_path: Path):
    path = tmp_path / "shoptalk.toml"
    path.write_text('task = "picture"\nbases = []\n')
    assert load(path).bases == ("scratch:resnet-mini", "pixels", "hog")


def test_shares_of_general_text_are_candidates_where_there_is_such_text_and_none_are_named() -> None:
    sources = 'replay.sources=["a.txt"]'
    assert load(task="language_model").candidates == ("clm", "none")
    assert load(task="language_model", overrides=[sources]).candidates == (
        "clm", "clm-replay-5", "clm-replay-25", "none",
    )  # fmt: skip
    chosen = load(task="language_model", overrides=[sources, "replay.percents=[10]"])
    assert chosen.candidates == ("clm-replay-10", "none")
    assert chosen.model_copy() == Config.model_validate(chosen.model_dump())
    by_hand = load(task="language_model", overrides=[sources, "objectives.clm.replay_percent=10"])
    assert by_hand.candidates == ("clm", "none")
    assert load(task="language_model", overrides=[sources], candidates=("clm",)).candidates == ("clm",)
    assert load(overrides=[sources]).candidates == Config().candidates


@pytest.mark.parametrize("percents", ["[]", "[5, 5]", "[-1]", "[100]", '["a"]', "[0.5]"])
def test_impossible_shares_of_general_text_are_refused(percents: str) -> None:
    with pytest.raises(ConfigError, match=r"replay\.percents"):
        load(task="language_model", overrides=['replay.sources=["a.txt"]', f"replay.percents={percents}"])


def test_settings_that_are_nested_too_deeply_are_refused_and_as_an_override_are_no_value(tmp_path: Path):
    (tmp_path / "shoptalk.toml").write_text(f"candidates = {'[' * 5_000}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nested too deeply\. `shoptalk init` writes"):
        load(tmp_path / "shoptalk.toml")
    with pytest.raises(ConfigError, match="candidates"):
        load(overrides=[f"candidates={'[' * 5_000}"])

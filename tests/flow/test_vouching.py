"""Another source's word ages: whoever was switched off there is out here by then, and nobody else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from appliance.accounts import people
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.control.federation import ages_of, upstreams_of
from appliance.identity.pages import Pages
from appliance.identity.services import Keys, Services
from appliance.identity.upstream import UpstreamClient
from appliance.identity.vouching import look_after
from appliance.policy.roles import Role
from appliance.store.schema import connect
from appliance.store.sessions import Sessions, session
from appliance.units import now_us
from tests.flow.test_federation import through
from tests.support.box import Box
from tests.support.hands import let_in
from tests.support.sign_on import Browser, Program, SignOn
from tests.support.upstream import SECRET, FakeUpstream

REDIRECT = "http://127.0.0.1:9/callback"
HOUR_US = 3_600_000_000
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """The other provider."""
    found = FakeUpstream.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[SignOn]:
    """A sign-on that knows the other provider; its word holds for 12 hours, and 24 more while it does not answer."""
    found = SignOn(Box(tmp_path_factory.mktemp("vouching")))
    secret = found.box.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    found.box.configure(found.settings + upstream.settings("login", secret))
    found.person("olga", Role.OWNER)
    found.person("anna")
    found.start()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def good(upstream: FakeUpstream) -> None:
    """It behaves, unless a test tells it otherwise."""
    upstream.do()


@pytest.fixture
def services(fed: SignOn) -> Iterator[Services]:
    """The parts of the process, to look after people now and not in a minute."""
    home = Home(fed.box.config, fed.box.state)
    sessions, settings = Sessions(home.database), load(fed.box.config).identity
    found = Services(home, fed.issuer, fed.issuer, sessions, Keys(home), Pages(), lambda: None)
    found.upstreams = {one.name: UpstreamClient(one) for one in upstreams_of(settings)}
    found.ages = ages_of(settings)
    yield found
    sessions.close()


def ago(fed: SignOn, hours: int) -> None:
    """It is so long since anybody was vouched for."""
    with closing(connect(fed.box.state / "appliance.db")) as connection:
        connection.execute("UPDATE foreign_account SET seen_at = ?", (now_us() - hours * HOUR_US - 1,))


def somebody(upstream: FakeUpstream, fed: SignOn, login: str) -> Browser:
    """A browser of somebody's who signs in there."""
    browser = Browser(fed)
    said = through(upstream, browser, claims={"sub": f"{login}-1", "email": f"{login}@example.com"})
    assert said.location == "/", said.text
    upstream.do()
    return browser


@pytest.mark.slow
def test_whoever_was_not_vouched_for_lately_loses_all_but_the_account(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    browser = somebody(upstream, fed, "fred")
    wiki = Program(fed, fed.client("Wiki", redirects=[REDIRECT]))
    tool = Program(fed, fed.client("Tool", flows=["device"], public=True))
    token, device = wiki.tokens(browser), let_in(tool, browser)
    ago(fed, 11)
    assert look_after(services) == 0
    assert DISCOVERY not in upstream.asked(), "nobody is asked while the word holds"
    ago(fed, 12)
    assert look_after(services) == 1
    assert look_after(services) == 0
    assert fed.alive("fred@example.com") == 0
    assert browser.ask("GET", "/").location == "/sign-in"
    assert not wiki.active(token["access_token"])
    for program, kept in ((wiki, token), (tool, device)):
        assert program.refresh(kept["refresh_token"]).json["error"] == "invalid_grant"
    (event,) = fed.events("vouching-ended")
    assert (event["actor"], event["target"], event["facts"]) == ("sign-on", "fred", {"source": upstream.issuer})
    with session(fed.box.state / "appliance.db") as opened:
        assert people.shut_out(opened, people.find(opened, "fred")) == ""
    # Whom the provider still lets in is in again.
    assert somebody(upstream, fed, "fred").ask("GET", "/").status == 200
    assert look_after(services) == 0


def test_one_sign_in_there_is_good_for_all_their_browsers(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    first = somebody(upstream, fed, "gerd")
    ago(fed, 12)
    somebody(upstream, fed, "gerd")
    look_after(services)
    assert first.ask("GET", "/").status == 200


def test_a_provider_that_does_not_answer_ends_nothing_for_a_while(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    browser = somebody(upstream, fed, "hugo")
    upstream.do(at={DISCOVERY: "fails"})
    ago(fed, 35)
    assert look_after(services) == 0
    assert upstream.issuer in services.silent
    assert browser.get("/").status == 200
    ago(fed, 36)
    # Those of the tests before, too.
    assert look_after(services) >= 1
    assert browser.ask("GET", "/").location == "/sign-in"


def test_the_while_is_over_once_it_answers_again(fed: SignOn, upstream: FakeUpstream, services: Services) -> None:
    browser = somebody(upstream, fed, "ilka")
    ago(fed, 20)
    assert look_after(services) == 1
    assert browser.ask("GET", "/").location == "/sign-in"


def test_a_provider_that_is_not_in_the_settings_any_more_vouches_for_nobody(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    browser = somebody(upstream, fed, "jana")
    services.upstreams = {}
    ago(fed, 12)
    assert look_after(services) == 1
    assert browser.ask("GET", "/").location == "/sign-in"


def test_whoever_has_a_password_here_loses_only_what_came_of_the_provider(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    there, here = somebody(upstream, fed, "anna"), Browser(fed)
    assert here.sign_in("anna@example.com").location == "/"
    ago(fed, 12)
    assert look_after(services) == 1
    assert there.ask("GET", "/").location == "/sign-in"
    assert here.ask("GET", "/").status == 200
    assert look_after(services) == 0


def test_whoever_signs_in_there_meanwhile_is_not_signed_out(
    fed: SignOn, upstream: FakeUpstream, services: Services
) -> None:
    browser = somebody(upstream, fed, "karl")
    ago(fed, 12)

    class Slow(UpstreamClient):
        """A provider at which somebody signs in while it is asked whether it answers."""

        def answers(self) -> bool:
            """Yes."""
            somebody(upstream, fed, "karl")
            return super().answers()

    services.upstreams = {"login": Slow(services.upstreams["login"].terms)}
    assert look_after(services) == 0
    assert browser.ask("GET", "/").status == 200

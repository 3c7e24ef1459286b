"""A strict judge of SIP2: the PyPI package `pysip2` listens and answers.

    python sip2_judge.py [PORT]

Prints `listening PORT` when it is ready. Every frame must carry a checksum that
fits and decode into its typed message, or the connection is closed. The books are
kept in memory; the title of item B0001 is Chinese. Login: gate / opens.
Stops when its standard input closes.
"""

import sys
import threading
import os
from datetime import datetime, timedelta

import anyio
from pysip2 import routes
from pysip2.models import (
    CheckinResponse,
    CheckoutResponse,
    EndSessionResponse,
    FeePaidResponse,
    HoldResponse,
    ItemInformationResponse,
    LoginResponse,
    PatronInformationResponse,
    PatronStatusResponse,
    RenewResponse,
)
from pysip2.server import SIP2Server

AO = "SANDBOX"
TITLES = {"B0001": "红楼梦", "B0002": "西游记"}
loans: dict[str, tuple[str, datetime]] = {}
holds: dict[str, list[str]] = {}
fees = {"X00000019": 1250}

server = SIP2Server(
    error_detection="required", encoding="utf-8", institution_id=AO, library_name="Judge", login_required=True
)


def sip_date(at: datetime) -> str:
    return at.strftime("%Y%m%d    %H%M%S")


def now() -> str:
    return sip_date(datetime.now())


def answer(kind, request, **more):
    """An answer that repeats institution and patron of its request."""
    return kind(transaction_date=now(), institution_id=AO, patron_identifier=request.patron_identifier, **more)


def money(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"


def patron(kind, request, **more):
    known = request.patron_identifier in fees
    return answer(
        kind,
        request,
        patron_status=" " * 14,
        language=request.language,
        personal_name="Reader" if known else "",
        valid_patron="Y" if known else "N",
        currency_type="CNY",
        fee_amount=money(fees.get(request.patron_identifier, 0)),
        **more,
    )


@server.route(routes.LOGIN)
def login(request, _context):
    ok = (request.login_user_id, request.login_password) == ("gate", "opens")
    return LoginResponse(ok="1" if ok else "0")


@server.route(routes.PATRON_STATUS)
def patron_status(request, _context):
    return patron(PatronStatusResponse, request)


@server.route(routes.PATRON_INFORMATION)
def patron_information(request, _context):
    who = request.patron_identifier
    charged = tuple(item for item, (reader, _) in loans.items() if reader == who)
    waiting = tuple(item for item, queue in holds.items() if who in queue)
    asked = request.summary.find("Y")
    return patron(
        PatronInformationResponse,
        request,
        hold_items_count=f"{len(waiting):04}",
        overdue_items_count="0000",
        charged_items_count=f"{len(charged):04}",
        fine_items_count="0000",
        recall_items_count="0000",
        unavailable_holds_count="0000",
        hold_items=waiting if asked == 0 else (),
        charged_items=charged if asked == 2 else (),
    )


def loan(kind, request, ok, due):
    item = request.item_identifier
    return answer(
        kind,
        request,
        ok="1" if ok else "0",
        renewal_ok="Y" if ok else "N",
        magnetic_media="N",
        desensitize="Y" if ok else "N",
        item_identifier=item,
        title_identifier=TITLES.get(item, ""),
        due_date=sip_date(due) if ok else "",
        screen_message=() if ok else ("Refused",),
    )


@server.route(routes.CHECKOUT)
def checkout(request, _context):
    item, due = request.item_identifier, datetime.now() + timedelta(days=30)
    ok = item in TITLES and item not in loans
    if ok:
        loans[item] = (request.patron_identifier, due)
    return loan(CheckoutResponse, request, ok, due)


@server.route(routes.RENEW)
def renew(request, _context):
    item = request.item_identifier
    reader, due = loans.get(item, ("", datetime.now()))
    ok = reader == request.patron_identifier
    if ok:
        due += timedelta(days=30)
        loans[item] = (reader, due)
    return loan(RenewResponse, request, ok, due)


@server.route(routes.CHECKIN)
def checkin(request, _context):
    item = request.item_identifier
    loans.pop(item, None)
    return CheckinResponse(
        ok="1" if item in TITLES else "0",
        resensitize="Y",
        magnetic_media="N",
        alert="N",
        transaction_date=now(),
        institution_id=AO,
        item_identifier=item,
        permanent_location="Main",
        title_identifier=TITLES.get(item, ""),
    )


@server.route(routes.HOLD)
def hold(request, _context):
    queue = holds.setdefault(request.item_identifier, [])
    who, adds = request.patron_identifier, request.hold_mode == "+"
    ok = adds != (who in queue)
    if ok and adds:
        queue.append(who)
    elif ok:
        queue.remove(who)
    position = str(len(queue)) if adds else "0"
    return answer(HoldResponse, request, ok="1" if ok else "0", available="N", queue_position=position)


@server.route(routes.ITEM_INFORMATION)
def item_information(request, _context):
    item = request.item_identifier
    status = "04" if item in loans else "03" if item in TITLES else "01"
    return ItemInformationResponse(
        circulation_status=status,
        security_marker="00",
        fee_type="01",
        transaction_date=now(),
        item_identifier=item,
        title_identifier=TITLES.get(item, ""),
        due_date=sip_date(loans[item][1]) if item in loans else None,
    )


@server.route(routes.FEE_PAID)
def fee_paid(request, _context):
    who, fen = request.patron_identifier, round(float(request.fee_amount) * 100)
    ok = 0 < fen <= fees.get(who, 0) and request.currency_type == "CNY"
    if ok:
        fees[who] -= fen
    return answer(FeePaidResponse, request, payment_accepted="Y" if ok else "N")


@server.route(routes.END_PATRON_SESSION)
def end_session(request, _context):
    return answer(EndSessionResponse, request, end_session="Y")


def stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


async def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    async with server.start("127.0.0.1", wanted) as port:
        print(f"listening {port}", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    threading.Thread(target=stop_with_parent, daemon=True).start()
    anyio.run(main)

"""Invitations by mail: one letter each, over SMTP, and whoever cannot be reached is told of.

Plain text with one link. The password is never sent unencrypted, and a server's certificate is
checked.
"""

import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid

from cxr import NOTE
from cxr.errors import AccessError
from cxr.labeling import Reader

_TIMEOUT_S = 30
_TEXT = """\
Hello {name},

you are asked to take part in the labeling job {job} as {roles}.
Open your personal link:

{link}

It is good for {days} days, or until you set a passphrase at {url}/passphrase.
Whoever opens it is taken for you: keep it to yourself.

{note}
"""


@dataclass(frozen=True)
class Smtp:
    """A mail server that takes letters.

    Attributes:
        host: Its name.
        port: 587 for starttls, 465 for tls, as a rule.
        security: `starttls`, `tls` from the first byte, or `none`.
        sender: From whom letters come.
        user: To sign in there, or None.
        password: To sign in there, or None.
    """

    host: str
    port: int
    security: str
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def invite(
    smtp: Smtp,
    readers: Iterable[Reader],
    links: Mapping[str, str],
    *,
    job: str,
    url: str,
    days: int,
) -> Iterator[tuple[Reader, str]]:
    """Mail each reader her personal link; one that is refused stops none of the others.

    Args:
        smtp: Who sends them.
        readers: Those who have an `email`.
        links: Reader ID → personal link.
        job: The labeling job's name.
        url: The portal's address.
        days: How long a link is good.

    Yields:
        Each reader, and what was wrong: empty where the server took her letter.

    Raises:
        AccessError: The server is not there, or does not let us in.
    """
    connection: smtplib.SMTP | None = None
    try:
        for reader in readers:
            text = _TEXT.format(
                name=reader.name or reader.id, job=job, roles=" and ".join(reader.roles),
                link=links[reader.id], url=url, days=days, note=NOTE,
            )  # fmt: skip
            try:
                letter = _letter(smtp, reader, f"Labeling job {job}", text)
            except (MessageError, ValueError) as error:
                yield reader, _said(error)
                continue
            connection = connection or _connect(smtp)
            problem = ""
            try:
                connection.send_message(letter)
            except (smtplib.SMTPException, OSError) as error:
                problem = _said(error)
                _leave(connection)
                connection = None  # what state it is in, nobody knows
            yield reader, problem
    finally:
        if connection is not None:
            _leave(connection)


def _letter(smtp: Smtp, reader: Reader, subject: str, text: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = smtp.sender
    letter["To"] = Address(reader.name, addr_spec=reader.email)
    letter["Subject"] = subject
    letter["Date"] = localtime()
    letter["Message-ID"] = make_msgid(domain=smtp.sender.rpartition("@")[2])
    letter.set_content(text)
    return letter


def _leave(connection: smtplib.SMTP) -> None:
    with suppress(smtplib.SMTPException, OSError):
        connection.quit()


def _connect(smtp: Smtp) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    try:
        if smtp.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                smtp.host, smtp.port, timeout=_TIMEOUT_S, context=trusted
            )
        else:
            connection = smtplib.SMTP(smtp.host, smtp.port, timeout=_TIMEOUT_S)
        try:
            if smtp.security == "starttls":
                connection.starttls(context=trusted)
            if smtp.user is not None:
                connection.login(smtp.user, smtp.password or "")
        except BaseException:
            connection.close()
            raise
    except (smtplib.SMTPException, OSError) as error:
        raise AccessError(f"labeling.smtp: {smtp.host}:{smtp.port}: {_said(error)}") from error
    return connection


def _said(error: Exception) -> str:
    """Give a server's answer in one line."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        said = f"{code} {text.decode('utf-8', 'replace')}"
    elif isinstance(error, smtplib.SMTPResponseException):
        answer: bytes | str = error.smtp_error
        shown = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
        said = f"{error.smtp_code} {shown}"
    else:
        said = str(error) or type(error).__name__
    return " ".join(said.split())

"""The errors of bind(): what each system calls them, and what its texts say instead.

Numbers and names: errno(3), sys/errno.h of macOS, "Windows Sockets Error Codes". The
words also as glibc and Windows translate them.
"""

# ruff: noqa: RUF001 - the words are of many alphabets

from __future__ import annotations

from bindcheck.records import record
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM_NAMES = {
    System.LINUX: "Linux",
    System.DARWIN: "macOS",
    System.WINDOWS: "Windows",
}


@record(frozen=True, slots=True, kw_only=True)
class KnownError:
    """An error that bind() and the calls around it give.

    `codes` has its number by system; `words` are what texts of systems and runtimes say
    instead of it, in lower case, and of which system that is (None: of several).
    `general`: other calls give it as often, so a text must tell that it is of bind.
    """

    name: str
    codes: tuple[tuple[System, int], ...]
    meaning: str
    words: tuple[tuple[str, System | None], ...] = ()
    general: bool = True


def _error(
    name: str,
    linux: int,
    darwin: int,
    windows: int | None,
    meaning: str,
    *,
    words: dict[System | None, str] | None = None,
    general: bool = True,
) -> KnownError:
    """Make one; the words of a system stand in one text, with "|" between them."""
    codes = [(System.LINUX, linux), (System.DARWIN, darwin)]
    if windows is not None:
        codes.append((System.WINDOWS, windows))
    said = [
        (one, system)
        for system, text in (words or {}).items()
        for one in text.split("|")
    ]
    return KnownError(
        name=name,
        codes=tuple(codes),
        meaning=meaning,
        words=tuple(said),
        general=general,
    )


ERRORS = (
    _error(
        *("EADDRINUSE", 98, 48, 10048),
        "the address and port are taken: by another socket, or by an old connection",
        general=False,
        words={
            None: "address already in use|address is already in use|address in use|"
            "addrinuse|addressalreadyinuse|addressinuse|address_in_use|"
            "address_already_associated|port is already allocated|connection in use",
            System.LINUX: "die adresse wird bereits verwendet|adresse déjà utilisée|"
            "la dirección ya se está usando|indirizzo già in uso|endereço já em uso|"
            "адрес уже используется|地址已在使用|位址已經有在使用|アドレスは既に使用中です|"
            "주소가 이미 사용 중입니다|adres is al in gebruik|adres jest już w użyciu|"
            "adres zaten kullanımda|adresa je užívána|adresa je používaná|"
            "adressen er allerede i bru|adressen redan upptagen|osoite on jo käytössä|"
            "a cím már használatban van|адресу вже використано|адресът вече се използва|"
            "адреса је већ у употреби|adrese se već koriste|naslov je že v rabi|"
            "adresas jau naudojamas|l'adreça ja és en ús|estase usando o enderezo|"
            "η διεύθυνση υποδοχής είναι ήδη σε χρήση|adreso jam uziĝas|"
            "alamat telah digunakan|địa chỉ đang được dùng",
            System.WINDOWS: "only one usage of each socket address|"
            "nur jeweils einmal verwendet werden|"
            "une seule utilisation de chaque adresse de socket|"
            "se permite un uso de cada dirección de socket|"
            "uma utilização de cada endereço de soquete|"
            "solo utilizzo di ogni indirizzo di socket|"
            "только одно использование адреса сокета|jedno użycie każdego adresu gniazda|"
            "每个套接字地址|只能用一個通訊端位址|各ソケット アドレス|각 소켓 주소|"
            "her yuva adresi|conflicts with an existing registration",  # http.sys
        },
    ),
    _error(
        *("EACCES", 13, 13, 10013),
        "it is forbidden: a privileged port, a policy, the folder of a unix socket, or (on "
        "Windows) a port that is kept or has an exclusive owner",
        words={
            None: "permission denied|permissiondenied|permission to access that port|"
            "elevated privileges|permission to listen on port|the address is protected|"
            "отказано в доступе|toegang geweigerd|adgang nægtet|åtkomst nekas",
            System.LINUX: "keine berechtigung|permission non accordée|permiso denegado|"
            "permesso negato|permissão recusada|permissão negada|权限不够|"
            "拒絕不符權限的操作|許可がありません|허가 거부|brak dostępu|erişim engellendi|"
            "operace zamítnuta|prístup odmietnutý|ikke tilgang|lupa evätty|"
            "engedély megtagadva|відмовлено у доступі|отказан достъп|"
            "овлашћење је одбијено|pristup je odbijen|s'ha denegat el permís|"
            "άρνηση πρόσβασης|mankas permeso|ijin ditolak|không đủ quyền truy cập",
            System.WINDOWS: "forbidden by its access permissions|"
            "zugriff auf einen socket war aufgrund der zugrif|"
            "accès à un socket de manière interdite|"
            "acceso a un socket no permitido por sus permisos|"
            "proibida pelas permissões de acesso|accesso al socket con modalità non|"
            "запрещенным правами доступа|gniazda w sposób zabroniony|"
            "访问权限不允许的方式|アクセス許可で禁じられた方法|숨겨진 소켓에 액세스",
        },
    ),
    _error(
        *("EADDRNOTAVAIL", 99, 49, 10049),
        "no interface of the machine has the address; for port 0 on macOS: no port is left",
        general=False,
        words={
            # musl, libuv, Rust, Qt
            None: "address not available|addrnotavail|address is not available",
            System.LINUX: "cannot assign requested address|"
            "angeforderte adresse kann nicht zugewiesen|ne peut attribuer l'adresse|"
            "no se puede asignar la dirección|impossibile assegnare l'indirizzo|"
            "impossível atribuir o endereço|não foi possível acessar o endereço|"
            "невозможно назначить запрошенный адрес|无法指定被请求的地址|"
            "無法指定所需的位址|要求アドレスに割り当てられません|"
            "요청한 주소를 배정할 수 없습니다|kan verzochte adres niet toewijzen|"
            "nie można przypisać żądanego adresu|istenen adres bulunamıyor|"
            "požadovanou adresu nelze přiřadit|kan inte tilldela begärd adress|"
            "не вдалося призначити вказану адресу",
            System.DARWIN: "can't assign requested address",
            System.WINDOWS: "requested address is not valid in its context|"
            "angeforderte adresse ist in diesem kontext|"
            "adresse demandée n'est pas valide dans son contexte|"
            "dirección solicitada no es válida en este contexto|"
            "dirección solicitada no es válida en su contexto|"
            "требуемый адрес для своего контекста|该请求的地址无效|"
            "要求したアドレスのコンテキストが無効",
        },
    ),
    _error(
        *("EINVAL", 22, 22, 10022),
        "an argument is wrong: the socket has an address already, or the address lacks "
        "its interface",
        words={
            None: "invalid argument|ungültiges argument|argument invalide|无效的参数",
            System.LINUX: "das argument ist ungültig|argumento inválido",
            System.WINDOWS: "invalid argument was supplied",
        },
    ),
    _error(
        *("EAFNOSUPPORT", 97, 47, 10047),
        "the system has no such address family, as IPv6 where it is switched off",
        words={
            None: "address family not supported",
            System.LINUX: "adressfamilie wird von der protokollfamilie nicht unterstützt|"
            "famille d'adresses non supportée|familia de direcciones no está soportada|"
            "семейство адресов не поддерживается|协议不支持的地址族",
            System.WINDOWS: "incompatible with the requested protocol was used",
        },
    ),
    _error(
        *("EPERM", 1, 1, None),
        "a policy or sandbox forbids it",
        words={None: "operation not permitted"},
    ),
    _error(
        *("EPROTONOSUPPORT", 93, 43, 10043),
        "the system has no such protocol",
        words={None: "protocol not supported"},
    ),
    _error(
        *("EOPNOTSUPP", 95, 102, 10045),
        "the socket is of a kind that does not listen, as one of UDP",
        words={None: "operation not supported"},
    ),
    _error(
        *("ENOTSOCK", 88, 38, 10038),
        "the descriptor is no socket",
        words={None: "socket operation on non-socket", System.WINDOWS: "not a socket"},
    ),
    _error(
        *("EBADF", 9, 9, 10009),
        "the descriptor is closed",
        words={None: "bad file descriptor"},
    ),
    _error(
        *("EMFILE", 24, 24, 10024),
        "the process has as many descriptors as it may have",
        words={None: "too many open files"},
    ),
    _error(*("ENFILE", 23, 23, None), "the system has too many files open"),
    _error(
        *("ENOBUFS", 105, 55, 10055),
        "no buffer or port is left",
        words={
            None: "no buffer space available",
            System.WINDOWS: "lacked sufficient buffer space",
        },
    ),
    _error(
        *("ENODEV", 19, 19, None),
        "there is no such interface",
        words={None: "no such device"},
    ),
    _error(
        *("ENOENT", 2, 2, None),
        "the folder of the unix socket does not exist",
        words={None: "no such file or directory"},
    ),
    _error(
        *("ENOTDIR", 20, 20, None),
        "the path of the unix socket leads through what is no folder",
        words={None: "not a directory"},
    ),
    _error(
        *("EROFS", 30, 30, None),
        "the unix socket would be on a file system that is read-only",
        words={None: "read-only file system"},
    ),
    _error(
        *("ENAMETOOLONG", 36, 63, None),
        "the path of the unix socket is too long",
        words={None: "file name too long|path too long"},
    ),
)


@record(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One reading of a text: this error, of this system."""

    system: System
    code: int
    error: KnownError

    @property
    def name(self) -> str:
        """What this system calls it: Windows puts WSA before its names."""
        prefix = "WSA" if self.system is System.WINDOWS else ""
        return prefix + self.error.name


def meanings_of(
    errors: Iterable[KnownError], *, only: System | None = None
) -> list[Meaning]:
    """Errors on each system that has them, or only on one."""
    return [
        Meaning(system=system, code=code, error=error)
        for error in errors
        for system, code in error.codes
        if only in (None, system)
    ]

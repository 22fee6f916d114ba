/* SPDX-License-Identifier: MIT
 *
 * The symbolic names of error numbers, as X-macros. A name is taken from the system's
 * own header, so the same name has each system's own number. Where two names share a
 * number (EAGAIN, EWOULDBLOCK) the one that manual pages use stands here.
 */
#ifndef BINDCHECK_ERRNO_NAMES_H
#define BINDCHECK_ERRNO_NAMES_H

/* clang-format off */

/* On every system, Windows' C library included. */
#define BC__ERRNO_POSIX(X)                                                             \
    X(EPERM)                                                                           \
    X(ENOENT) X(ESRCH) X(EINTR) X(EIO) X(ENXIO) X(E2BIG) X(ENOEXEC) X(EBADF) X(ECHILD) \
        X(EAGAIN) X(ENOMEM) X(EACCES) X(EFAULT) X(EBUSY) X(EEXIST) X(EXDEV) X(ENODEV)  \
            X(ENOTDIR) X(EISDIR) X(EINVAL) X(ENFILE) X(EMFILE) X(ENOTTY) X(ETXTBSY) X( \
                EFBIG) X(ENOSPC) X(ESPIPE) X(EROFS) X(EMLINK) X(EPIPE) X(EDOM)         \
                X(ERANGE) X(EDEADLK) X(ENAMETOOLONG) X(ENOLCK) X(ENOSYS) X(ENOTEMPTY)  \
                    X(ELOOP) X(EILSEQ) X(EOVERFLOW) X(ENOTSOCK) X(EDESTADDRREQ)        \
                        X(EMSGSIZE) X(EPROTOTYPE) X(ENOPROTOOPT) X(EPROTONOSUPPORT)    \
                            X(EOPNOTSUPP) X(EAFNOSUPPORT) X(EADDRINUSE)                \
                                X(EADDRNOTAVAIL) X(ENETDOWN) X(ENETUNREACH)            \
                                    X(ENETRESET) X(ECONNABORTED) X(ECONNRESET)         \
                                        X(ENOBUFS) X(EISCONN) X(ENOTCONN) X(ETIMEDOUT) \
                                            X(ECONNREFUSED) X(EHOSTUNREACH)            \
                                                X(EALREADY) X(EINPROGRESS) X(EPROTO)   \
                                                    X(ECANCELED) X(EOWNERDEAD)         \
                                                        X(ENOTRECOVERABLE) X(EBADMSG)  \
                                                            X(EIDRM) X(ENOMSG)

#define BC__ERRNO_UNIX(X)                                                              \
    X(ENOTBLK)                                                                         \
    X(ESOCKTNOSUPPORT) X(EPFNOSUPPORT) X(ESHUTDOWN) X(ETOOMANYREFS) X(EHOSTDOWN)       \
        X(EUSERS) X(EDQUOT) X(ESTALE) X(EREMOTE) X(EMULTIHOP) X(ENOLINK) X(ENODATA)    \
            X(ENOSR) X(ENOSTR) X(ETIME)

#define BC__ERRNO_LINUX(X)                                                             \
    X(ECHRNG)                                                                          \
    X(EL2NSYNC) X(EL3HLT) X(EL3RST) X(ELNRNG) X(EUNATCH) X(ENOCSI) X(EL2HLT) X(EBADE)  \
        X(EBADR) X(EXFULL) X(ENOANO) X(EBADRQC) X(EBADSLT) X(EBFONT) X(ENONET)         \
            X(ENOPKG) X(EADV) X(ESRMNT) X(ECOMM) X(EDOTDOT) X(ENOTUNIQ) X(EBADFD)      \
                X(EREMCHG) X(ELIBACC) X(ELIBBAD) X(ELIBSCN) X(ELIBMAX) X(ELIBEXEC)     \
                    X(ERESTART) X(ESTRPIPE) X(EUCLEAN) X(ENOTNAM) X(ENAVAIL) X(EISNAM) \
                        X(EREMOTEIO) X(ENOMEDIUM) X(EMEDIUMTYPE) X(ENOKEY)             \
                            X(EKEYEXPIRED) X(EKEYREVOKED) X(EKEYREJECTED) X(ERFKILL)

#define BC__ERRNO_DARWIN(X)                                                            \
    X(EBADRPC)                                                                         \
    X(ERPCMISMATCH) X(EPROGUNAVAIL) X(EPROGMISMATCH) X(EPROCUNAVAIL) X(EPROCLIM)       \
        X(EFTYPE) X(EAUTH) X(ENEEDAUTH) X(EPWROFF) X(EDEVERR) X(EBADEXEC) X(EBADARCH)  \
            X(ESHLIBVERS) X(EBADMACHO) X(ENOATTR) X(ENOPOLICY) X(EQFULL) X(ENOTSUP)

#if defined(__linux__)
#define BC__ERRNO_MAP(X) BC__ERRNO_POSIX(X) BC__ERRNO_UNIX(X) BC__ERRNO_LINUX(X)
#elif defined(__APPLE__)
#define BC__ERRNO_MAP(X) BC__ERRNO_POSIX(X) BC__ERRNO_UNIX(X) BC__ERRNO_DARWIN(X)
#elif defined(_WIN32)
#define BC__ERRNO_MAP(X) BC__ERRNO_POSIX(X)
#else
#define BC__ERRNO_MAP(X) BC__ERRNO_POSIX(X) BC__ERRNO_UNIX(X)
#endif

/* netdb.h. EAI_SYSTEM never leaves the core: errno stands in its place. */
#define BC__EAI_COMMON(X)                                                              \
    X(EAI_AGAIN)                                                                       \
    X(EAI_BADFLAGS) X(EAI_FAIL) X(EAI_FAMILY) X(EAI_MEMORY) X(EAI_NONAME)              \
        X(EAI_SERVICE) X(EAI_SOCKTYPE)

#if defined(__GLIBC__)
#define BC__EAI_MAP(X)                                                                 \
    BC__EAI_COMMON(X)                                                                  \
    X(EAI_SYSTEM) X(EAI_OVERFLOW) X(EAI_NODATA) X(EAI_ADDRFAMILY)
#elif defined(_WIN32)
#define BC__EAI_MAP(X) BC__EAI_COMMON(X)
#else
#define BC__EAI_MAP(X) BC__EAI_COMMON(X) X(EAI_SYSTEM) X(EAI_OVERFLOW)
#endif

#endif

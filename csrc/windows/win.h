/* SPDX-License-Identifier: MIT
 *
 * The Windows headers in the one order that works: winsock2 before windows, because
 * the latter brings in the first Winsock with other option numbers.
 */
#ifndef BINDCHECK_WINDOWS_WIN_H
#define BINDCHECK_WINDOWS_WIN_H

#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
#include <iphlpapi.h>

/* combaseapi.h makes a keyword of it, and bc_interface_address has a field of the name.
 */
#undef interface

#endif

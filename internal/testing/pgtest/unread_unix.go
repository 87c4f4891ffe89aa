//go:build unix

package pgtest

import (
	"net"
	"syscall"
)

// hasUnread reports whether bytes of the peer have arrived that nobody has read yet. It does not
// wait.
func hasUnread(conn net.Conn) (unread bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // an error means that it is closed
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK) // Go's sockets do not block
		unread = err == nil && n > 0
	})
	return unread
}

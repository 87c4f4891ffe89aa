//go:build !unix

package pgtest

import "net"

// hasUnread cannot tell here. Without it, Flights may count a long pipeline twice on a busy machine.
func hasUnread(net.Conn) bool { return false }

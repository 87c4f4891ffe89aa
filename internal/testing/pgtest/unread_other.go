//go:build !unix

package pgtest

import "net"

// hasUnread cannot tell here. So RoundTrips may count a long pipeline twice on a busy machine.
func hasUnread(net.Conn) bool { return false }

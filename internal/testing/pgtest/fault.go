package pgtest

import "bytes"

// A Fault breaks all connections of a proxy when one of them reaches a position. Connections that
// are opened later work, unless the fault stays.
type Fault struct {
	At  Position
	How How
	// Stays breaks new connections too, until Restore: they are refused, or everything they send is
	// lost.
	Stays bool
}

// How is the way in which a connection breaks.
type How uint8

// The ways in which a connection breaks.
const (
	// Close ends it in an orderly way: both sides see its end.
	Close How = iota
	// Abort resets it (RST).
	Abort
	// Lose loses everything that either side sends from then on, and its end. Both sides stay
	// open until a Cut or Restore, as with a peer that the network no longer reaches.
	Lose
)

// A Position is a place in what clients send or receive, counted from Plan on over all sessions.
// Cancel requests have none.
type Position struct {
	ofClient bool
	left     int // bytes or answers before it
	// strike sees what is about to be forwarded, and the messages that it completes. It returns how much of it is still
	// before the position, or -1 when that is for later.
	strike func(left *int, b []byte, ended []frame) int
}

// AfterClientBytes is the position after n bytes of clients, before any answer to the last of them.
// Zero is when a client wants to send its first byte.
func AfterClientBytes(n int) Position { return Position{true, n, strikeAfterBytes} }

// AfterServerBytes is the position after n bytes of servers.
func AfterServerBytes(n int) Position { return Position{false, n, strikeAfterBytes} }

func strikeAfterBytes(left *int, b []byte, _ []frame) int {
	if len(b) < *left {
		*left -= len(b)
		return -1
	}
	return *left
}

// BeforeAnswer is the position before the end of the nth answer (ReadyForQuery): the server has
// done what the client asked, and committed it if there was no BEGIN, and the client does not learn
// of it. Setting up a session is an answer too.
func BeforeAnswer(n int) Position {
	return Position{false, n, func(left *int, _ []byte, ended []frame) int {
		return nthAnswer(left, ended, func(m frame) int { return m.start })
	}}
}

// AfterAnswer is the position after the nth answer, between two round trips.
func AfterAnswer(n int) Position {
	return Position{false, n, func(left *int, _ []byte, ended []frame) int {
		return nthAnswer(left, ended, func(m frame) int { return m.end })
	}}
}

func nthAnswer(left *int, ended []frame, side func(frame) int) int {
	for _, m := range ended {
		if m.kind == 'Z' { // ReadyForQuery
			if *left--; *left == 0 {
				return side(m)
			}
		}
	}
	return -1
}

// BeforeStatement is the position before a client's statement of exactly this text, which does not
// reach the server.
func BeforeStatement(sql string) Position {
	return Position{true, 0, func(_ *int, _ []byte, ended []frame) int {
		for _, m := range ended {
			if text, ok := statement(m); ok && string(text) == sql {
				return m.start
			}
		}
		return -1
	}}
}

// statement returns the text of a message that has one.
func statement(m frame) (text []byte, ok bool) {
	text, rest, ok := bytes.Cut(m.text, []byte{0})
	switch {
	case ok && m.kind == 'Q': // Query
		return text, true
	case ok && m.kind == 'P': // Parse: a name, and the statement
		text, _, ok = bytes.Cut(rest, []byte{0})
		return text, ok
	default:
		return nil, false
	}
}

// BeforeTag is the position before a server's CommandComplete of this tag. With "COMMIT" everything
// is committed, and the client does not learn of it.
func BeforeTag(tag string) Position {
	return Position{false, 0, func(_ *int, _ []byte, ended []frame) int {
		for _, m := range ended {
			if m.kind == 'C' && string(bytes.TrimSuffix(m.text, []byte{0})) == tag { // CommandComplete
				return m.start
			}
		}
		return -1
	}}
}

// Plan makes the fault strike once, at its position. It replaces a fault that has not struck yet.
func (p *Proxy) Plan(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = &f
}

// Planned reports whether a fault has not struck yet.
func (p *Proxy) Planned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault != nil
}

// Restore ends what Plan, Refuse and Silence began. It cuts the connections that are lost, as the
// kernels of both sides do in the end.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.losing, p.refusing, p.silent = nil, false, false, false
	for s := range p.sessions {
		if s.isLost {
			s.reset()
		}
	}
	p.wake.Broadcast()
}

// strikes asks the planned fault about b, which a session is about to forward. It returns what to
// forward, and the fault if it strikes. The caller holds mu.
func (p *Proxy) strikes(s *session, ofClient bool, b []byte, ended []frame) ([]byte, *Fault) {
	f := p.fault
	if f == nil || f.At.ofClient != ofClient || s.isCancel {
		return b, nil
	}
	n := f.At.strike(&f.At.left, b, ended)
	if n < 0 {
		return b, nil
	}
	p.fault, s.isLost = nil, true // the other side may be faster than breakBy
	return b[:n], f
}

// breakBy breaks all connections as the fault says. f may be nil.
func (p *Proxy) breakBy(f *Fault) {
	if f == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		switch f.How {
		case Close:
			s.cut()
		case Abort:
			s.reset()
		case Lose:
			s.isLost = true
		}
	}
	if f.Stays {
		p.refusing, p.losing = f.How != Lose, f.How == Lose
	}
	p.wake.Broadcast()
}

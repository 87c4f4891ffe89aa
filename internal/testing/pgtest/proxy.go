package pgtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a Postgres server. It counts round trips, and breaks connections
// as networks and fail-overs do. Its methods may be called at any time, from any goroutine.
type Proxy struct {
	// URL is the server's URL through the proxy, without TLS.
	URL string

	listener net.Listener
	running  sync.WaitGroup

	mu         sync.Mutex
	target     string
	wake       *sync.Cond // when silent or a session's isCut changes
	sessions   map[*session]bool
	closed     bool
	roundTrips int
	cancels    int
	sent       int // bytes of the clients
	received   int // bytes that they got
	delay      time.Duration
	silent     bool
	refusing   bool
	deafens    bool   // new sessions get no answers
	fault      *Fault // planned; nil when there is none
	losing     bool   // new sessions are lost
}

// NewProxy starts a proxy in front of the server of the URL. It ends with the test and cuts its
// connections.
func NewProxy(t testing.TB, serverURL string) *Proxy {
	t.Helper()
	u, target := parseTarget(t, serverURL)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("pgtest: a port for the proxy: %v", err)
	}
	p := &Proxy{
		target:   target,
		listener: listener,
		sessions: map[*session]bool{},
	}
	p.wake = sync.NewCond(&p.mu)
	q := u.Query()
	q.Set("sslmode", "disable")
	u.Host = listener.Addr().String()
	u.RawQuery = encodeQuery(q)
	p.URL = u.String()

	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// parseTarget returns a URL and the address that it names.
func parseTarget(t testing.TB, serverURL string) (u *url.URL, target string) {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil || u.Hostname() == "" {
		t.Fatalf("pgtest: a proxy needs a URL with a host: %v", err)
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	return u, net.JoinHostPort(u.Hostname(), port)
}

// RoundTrips returns how often, over all sessions since the last Reset, a client sent something
// after it had received every answer that it had asked for. A pipeline that is sent at once is one
// round trip, even if the first answers arrive before its end has been sent; so is a COPY. (What a
// client sends in many writes, or in one of many megabytes, cannot always be told from several
// round trips.) Opening a session with a password (SCRAM) takes three, closing it none. Cancel
// requests, which have their own connections, do not count.
func (p *Proxy) RoundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roundTrips
}

// Cancels returns the number of cancel requests since the last Reset.
func (p *Proxy) Cancels() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cancels
}

// Bytes returns how many bytes the clients have sent and received since the last Reset.
func (p *Proxy) Bytes() (sent, received int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.received
}

// Reset sets what is counted to 0.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roundTrips, p.cancels, p.sent, p.received = 0, 0, 0, 0
}

// SetDelay delays everything that is sent from now on by d, in each direction: a round trip takes 2
// d longer.
func (p *Proxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Silence makes the server silent: connections stay open, new ones are accepted, and nothing is
// forwarded, not even the end of a connection. Resume forwards what has arrived meanwhile.
func (p *Proxy) Silence() { p.setSilent(true) }

// Resume ends a Silence.
func (p *Proxy) Resume() { p.setSilent(false) }

func (p *Proxy) setSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
	p.wake.Broadcast()
}

// Refuse makes the proxy close new connections at once, or with false accept them again.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = refuse
}

// Redirect sends new connections to the server of another URL, as a fail-over does. Open ones stay
// with the old server: Cut them.
func (p *Proxy) Redirect(t testing.TB, serverURL string) {
	t.Helper()
	_, target := parseTarget(t, serverURL)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut closes both sides of all connections. New ones are accepted, also the one by which pgx, after
// losing a connection, asks the server to cancel its statement: Refuse first if the statement is to
// finish.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		s.cut()
	}
	p.wake.Broadcast()
}

// CutAfterClientBytes cuts when clients' sessions have sent n more bytes, or more. Exactly n are
// forwarded, and no answer to the last of them is.
func (p *Proxy) CutAfterClientBytes(n int) { p.Plan(Fault{At: AfterClientBytes(n)}) }

// DropServerBytes loses everything that the server sends from now on, on the connections that are
// open; what clients send is still forwarded. So an answer gets lost: drop, let the client commit,
// see that the row is there, and Cut.
func (p *Proxy) DropServerBytes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		s.dropping = true
	}
}

// DropAnswers loses, on connections that are opened from now on, everything that the server sends
// after it has set them up, so that even the first answer gets lost. With false, connections that
// are opened later work again.
func (p *Proxy) DropAnswers(drop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deafens = drop
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // the listener is closed
		}
		s := &session{client: conn}
		p.mu.Lock()
		if p.refusing || p.closed {
			s.cut()
		} else {
			s.isDeaf, s.isLost = p.deafens, p.losing
			p.sessions[s] = true
			p.running.Go(func() { p.serve(s) })
		}
		p.mu.Unlock()
	}
}

// session is one connection through the proxy. The proxy's mu guards its fields, but not the use of the connections.
type session struct {
	client, server net.Conn // server is nil until the client has said what it wants
	isCut          bool
	isLost         bool // both sides stay open, and nothing gets through any more
	dropping       bool
	isDeaf         bool // drops when it is set up

	isCancel   bool // it carries one cancel request: not counted as a round trip
	isStarted  bool // the startup message has been counted
	isReady    bool // the server has been ready for a query
	fromClient framer
	fromServer framer
	toServer   framer
	isOpened   bool // the startup message has been forwarded
	owed       int  // answers (each ends with ReadyForQuery) that the client has asked for and has not got
	turn       bool // the client has got all that it asked for: what it sends next is a new round trip
}

// cut needs the proxy's mu.
func (s *session) cut() {
	s.isCut = true
	_ = s.client.Close()
	if s.server != nil {
		_ = s.server.Close()
	}
}

// reset needs the proxy's mu.
func (s *session) reset() {
	for _, c := range []net.Conn{s.client, s.server} {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetLinger(0) // a Close sends RST then; one that is closed already stays so
		}
	}
	s.cut()
}

func (p *Proxy) serve(s *session) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.cut()
		delete(p.sessions, s)
	}()
	startup, err := readStartup(s.client)
	if err != nil || !p.awaitSound(s) {
		p.awaitCut(s)
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	p.mu.Lock()
	s.server, s.isCancel = server, requestCode(startup) == cancelRequest
	if s.isCut { // while we dialled
		s.cut()
	}
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() {
		p.relay(s, io.MultiReader(bytes.NewReader(startup), s.client), s.server, p.clientSent, p.forward)
	})
	both.Go(func() {
		p.relay(s, s.server, s.client, nil, p.deliver)
	})
	both.Wait()
}

// parcel is what was read at once, and when it may be written.
type parcel struct {
	bytes []byte
	due   time.Time
}

// relay forwards what one side sends to the other, and then its end. It reads and writes in two
// goroutines, so that a delay does not reduce the throughput.
func (p *Proxy) relay(s *session, from io.Reader, to net.Conn, came, send func(*session, []byte)) {
	parcels := make(chan parcel, 256)
	var writer sync.WaitGroup
	writer.Go(func() {
		for next := range parcels {
			sleepUntil(next.due)
			if p.awaitSound(s) {
				send(s, next.bytes)
			}
		}
		if p.awaitSound(s) {
			_ = to.Close()
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if came != nil {
				came(s, buf[:n])
			}
			parcels <- parcel{bytes.Clone(buf[:n]), time.Now().Add(p.currentDelay())}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	writer.Wait()
	p.awaitCut(s)
}

func (p *Proxy) currentDelay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// awaitSound waits while the proxy is silent, and reports whether the session still lets anything through.
func (p *Proxy) awaitSound(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.silent && !s.isCut {
		p.wake.Wait()
	}
	return !s.isCut && !s.isLost
}

// awaitCut waits until a lost session is cut: before that neither side learns of the other's end.
func (p *Proxy) awaitCut(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s.isLost && !s.isCut {
		p.wake.Wait()
	}
}

// clientSent counts what a client sends.
func (p *Proxy) clientSent(s *session, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent += len(b)
	switch {
	case s.isCancel:
		p.cancels++
		return
	case !s.isStarted: // the startup message has no type, so the framer must not see it
		s.isStarted = true
		p.roundTrips++
		return
	case s.turn && !bytes.Equal(b, terminate):
		p.roundTrips++
	}
	s.turn = false
	for _, m := range s.fromClient.scan(b) {
		if m.kind == 'Q' || m.kind == 'S' || m.kind == 'F' { // Query, Sync, FunctionCall
			s.owed++
		}
	}
}

// forward writes to the server, up to a planned fault.
func (p *Proxy) forward(s *session, b []byte) {
	p.mu.Lock()
	var messages []frame
	if s.isOpened { // the startup message has no type
		messages = s.toServer.scan(b)
	}
	s.isOpened = true
	rest, struck := p.strikes(s, true, b, messages)
	p.mu.Unlock()
	_, _ = s.server.Write(rest) // the reader of that side sees what is wrong with it
	p.breakBy(struck)
}

// deliver writes to the client, up to a planned fault. Before that, so ahead of everything that the
// client may do about it, it notes whether it is the client's turn. It is not while the client is
// still sending: within a message, or with bytes on the way.
func (p *Proxy) deliver(s *session, b []byte) {
	p.mu.Lock()
	if s.isDeaf && s.isReady && s.fromServer.between() {
		s.dropping = true
	}
	if s.dropping {
		p.mu.Unlock()
		return
	}
	messages := s.fromServer.scan(b)
	for _, m := range messages {
		if m.kind == 'Z' { // ReadyForQuery; the first one was not asked for
			s.owed = max(0, s.owed-1)
			s.isReady = true
		}
	}
	if s.owed == 0 && s.fromClient.between() && !hasUnread(s.client) {
		s.turn = true
	}
	rest, struck := p.strikes(s, false, b, messages)
	p.received += len(rest)
	p.mu.Unlock()
	_, _ = s.client.Write(rest) // as in forward
	p.breakBy(struck)
}

// frame is a complete message: where it is in the bytes that completed it, and how its body begins.
type frame struct {
	kind       byte
	start, end int // a start before those bytes is 0
	text       []byte
}

// maxText is how much of a message's body a framer keeps.
const maxText = 64

// framer finds the messages in one direction of a session, however reads cut them. Each has one
// byte of type and four of length, which include themselves.
type framer struct {
	header [5]byte
	filled int    // bytes of header that have come
	body   int    // bytes of the message's rest that have not
	text   []byte // the start of its body
	start  int    // of the message in the bytes that are scanned
}

// scan returns the messages that end in b.
func (f *framer) scan(b []byte) (ended []frame) {
	f.start = 0
	for at := 0; at < len(b); {
		if f.filled == 0 {
			f.start, f.text = at, nil
		}
		if f.filled < len(f.header) {
			n := copy(f.header[f.filled:], b[at:])
			f.filled += n
			at += n
			if f.filled < len(f.header) {
				break
			}
			f.body = max(0, int(binary.BigEndian.Uint32(f.header[1:]))-4)
		}
		n := min(f.body, len(b)-at)
		f.text = append(f.text, b[at:at+min(n, maxText-len(f.text))]...)
		f.body -= n
		at += n
		if f.body == 0 {
			f.filled = 0
			ended = append(ended, frame{f.header[0], f.start, at, f.text})
		}
	}
	return ended
}

// between reports whether the last message is complete.
func (f *framer) between() bool { return f.filled == 0 }

// terminate is the message that ends a session. It has no answer.
var terminate = []byte{'X', 0, 0, 0, 4}

// Codes that the first message may have instead of a protocol version: then it is not a startup.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// readStartup reads a client's first message and declines encryption if the client asks for it.
func readStartup(client net.Conn) ([]byte, error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(client, head); err != nil {
			return nil, err
		}
		length := int(binary.BigEndian.Uint32(head))
		if length < len(head) || length > 10_000 {
			return nil, fmt.Errorf("a first message of %d bytes", length)
		}
		rest := make([]byte, length-len(head))
		if _, err := io.ReadFull(client, rest); err != nil {
			return nil, err
		}
		startup := slices.Concat(head, rest)
		if code := requestCode(startup); code != sslRequest && code != gssRequest {
			return startup, nil
		}
		if _, err := client.Write([]byte{'N'}); err != nil {
			return nil, err
		}
	}
}

func requestCode(startup []byte) uint32 { return binary.BigEndian.Uint32(startup[4:]) }

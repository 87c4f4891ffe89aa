package postgres_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"example.com/owner/sluice/internal/postgres"
)

// fake is a server and the network before it, for tests about time. They run in a bubble of
// testing/synctest, where hours pass at once and no machine is slow. To each INSERT it answers that
// all rows are new, and to all else that there is nothing.
//
// Its functions are set while nothing is under way.
type fake struct {
	testing.TB
	// dialing, if set, says what becomes of the n-th connection, from 1 on; nil for nothing but
	// what is usual. A request to cancel is number 0.
	dialing func(n int) error
	// login, if set, is the SQLSTATE by which the n-th login fails; "" for none.
	login func(n int) string
	// hold, if set, is how long it takes to insert the rows with these ids.
	hold func(ids []int64) time.Duration
	// refuse, if set, is the SQLSTATE by which such an insert fails; "" for none.
	refuse func(ids []int64) string
	says   string // the text of such an error
	// chatty: something is heard of the server while a statement runs.
	chatty bool
	ended  chan struct{} // closed when the test has ended

	mu       sync.Mutex
	hasEnded bool // from then on nothing is silent
	muted    bool // dials
	lines    map[int]*line
	number   int // of connections so far
	seen     traffic
}

// traffic is what a fake has seen.
type traffic struct {
	dials    []time.Time
	cancels  int
	inserted [][]int64 // by statements that came to their end
}

// traffic returns what has been seen since the last time.
func (f *fake) traffic() traffic {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = traffic{}
	return seen
}

// line is a connection, as the server has it.
type line struct {
	stop    chan struct{} // gets what a request to cancel asks for
	silence chan struct{} // nil, or closed when the silence ends
}

// errSilent is what becomes of a connection that leads nowhere.
var errSilent = errors.New("silent")

// forever is longer than any test.
const forever = 1000 * time.Hour

func newFake(t testing.TB) *fake {
	f := &fake{TB: t, lines: map[int]*line{}, ended: make(chan struct{})}
	t.Cleanup(func() {
		close(f.ended)
		time.Sleep(time.Minute) // what ends in the background does so meanwhile
	})
	return f
}

func (f *fake) open(options ...postgres.Option) *postgres.Store {
	f.Helper()
	store := openStore(f, "postgres://sluice@127.0.0.1:5432/app?sslmode=disable", events, options...)
	store.SetDialer(f.dial)
	f.Cleanup(func() {
		f.mu.Lock()
		f.hasEnded = true
		f.mu.Unlock()
		f.sound()
	})
	return store
}

// mute makes the network silent: nothing arrives any more, in either direction, without an error.
// With dials, that includes new connections.
func (f *fake) mute(dials bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hasEnded {
		return
	}
	f.muted = f.muted || dials
	for _, l := range f.lines {
		if l.silence == nil {
			l.silence = make(chan struct{})
		}
	}
}

// sound ends the silence.
func (f *fake) sound() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.muted = false
	for _, l := range f.lines {
		if l.silence != nil {
			close(l.silence)
			l.silence = nil
		}
	}
}

// await waits until a line is not silent.
func (f *fake) await(l *line) {
	f.mu.Lock()
	silence := l.silence
	f.mu.Unlock()
	if silence != nil {
		<-silence
	}
}

// pipe is the network's name where a request to cancel dials the address of its connection.
const pipe = "pipe"

func (f *fake) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	f.mu.Lock()
	n := 0
	if network == pipe {
		f.seen.cancels++
	} else {
		f.seen.dials = append(f.seen.dials, time.Now())
		f.number++
		n = f.number
	}
	var fate error
	if f.muted {
		fate = errSilent
	} else if f.dialing != nil {
		fate = f.dialing(n)
	}
	f.mu.Unlock()
	switch {
	case errors.Is(fate, errSilent):
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	case fate != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Err: fate}
	}
	ours, theirs := net.Pipe()
	go f.serve(theirs, n)
	return ours, nil
}

// serve is the server at the end of a connection.
func (f *fake) serve(c net.Conn, n int) {
	defer func() { _ = c.Close() }()
	// A pipe has no buffer: the client would still write while the server answers.
	b := pgproto3.NewBackend(bufio.NewReaderSize(c, 1<<20), c)
	first, err := b.ReceiveStartupMessage()
	if request, ok := first.(*pgproto3.CancelRequest); ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		select {
		case f.lines[int(request.ProcessID)].stop <- struct{}{}:
		default:
		}
		return
	}
	if err != nil {
		return
	}
	if f.login != nil {
		if state := f.login(n); state != "" {
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: state})
			_ = b.Flush()
			return
		}
	}
	l := &line{stop: make(chan struct{}, 1)}
	f.mu.Lock()
	f.lines[n] = l
	f.mu.Unlock()
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: uint32(n), SecretKey: []byte("1234")})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() == nil {
		f.converse(b, l)
	}
}

// converse answers statements.
func (f *fake) converse(b *pgproto3.Backend, l *line) {
	var ids []int64
	queries := map[string]string{} // by the names of statements
	query, failed := "", false
	for {
		m, err := b.Receive()
		if err != nil {
			return
		}
		f.await(l)
		if _, ok := m.(*pgproto3.Sync); failed && !ok {
			continue
		}
		switch m := m.(type) {
		case *pgproto3.Terminate:
			return
		case *pgproto3.Parse:
			queries[m.Name] = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				b.Send(&pgproto3.ParameterDescription{})
			}
			b.Send(&pgproto3.NoData{})
		case *pgproto3.Bind:
			ids, query = bigints(m.Parameters), queries[m.PreparedStatement]
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			switch {
			case strings.HasPrefix(query, "INSERT"):
				failed = !f.execute(b, l, ids)
			case query == "COMMIT":
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte(query)})
			default:
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
			}
		case *pgproto3.Sync:
			failed = false
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			if b.Flush() != nil {
				return
			}
		}
	}
}

// execute inserts rows, and reports whether that ended by itself.
func (f *fake) execute(b *pgproto3.Backend, l *line, ids []int64) bool {
	if f.hold != nil {
		took := f.hold(ids)
		if f.chatty {
			b.Send(&pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000"})
			_ = b.Flush()
		}
		select {
		case <-l.stop:
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014"})
			f.await(l)
			return false
		case <-time.After(took):
			f.await(l)
		case <-f.ended:
		}
	}
	if f.refuse != nil {
		if state := f.refuse(ids); state != "" {
			refused := &pgproto3.ErrorResponse{Severity: "ERROR", Code: state, Message: f.says}
			if strings.HasPrefix(state, "42") {
				refused.Position = 13 // of a name in the statement
			}
			b.Send(refused)
			return false
		}
	}
	f.mu.Lock()
	f.seen.inserted = append(f.seen.inserted, ids)
	f.mu.Unlock()
	b.Send(&pgproto3.CommandComplete{CommandTag: fmt.Appendf(nil, "INSERT 0 %d", len(ids))})
	return true
}

// bigints returns the elements of the first parameter, an array.
func bigints(parameters [][]byte) []int64 {
	if len(parameters) == 0 || len(parameters[0]) < 20 {
		return nil
	}
	var ids []int64
	for v := parameters[0][20:]; len(v) >= 12; v = v[12:] {
		ids = append(ids, int64(binary.BigEndian.Uint64(v[4:])))
	}
	return ids
}

// warm makes idle connections by as many inserts at once.
func (f *fake) warm(store *postgres.Store, connections int) {
	f.Helper()
	f.hold = func([]int64) time.Duration { return time.Second } // so that they are in use at once
	var inserts sync.WaitGroup
	for range connections {
		inserts.Go(func() {
			if _, err := store.Insert(f.Context(), batchOf(goods(1, 1))); err != nil {
				f.Error(err)
			}
		})
	}
	inserts.Wait()
	f.hold = nil
}

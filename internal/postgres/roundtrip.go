package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// roundTrip sends statements without waiting, and then reads all the answers. Its statements come
// in segments: when one fails, the server skips the rest of its segment.
type roundTrip struct {
	in       *insertion
	p        *pgconn.Pipeline
	cancel   context.CancelFunc
	sent     []sent            // the statements
	ends     []int             // of the segments, in sent
	sized    int               // bytes of parameters since the last flush
	prepares map[string]string // that this round trip prepares: statements, by name
	deadline time.Time
	asks     map[int]func(*answer)
	required map[int]bool // segments that must not fail
	// stopOn returns an error if the rest of the round trip is pointless after an answer.
	stopOn func(*answer) error
}

// sent is a statement that was sent, with what its answer means.
type sent struct {
	of       *part  // nil if it is about all
	insert   insert // if it inserts rows
	fit      bool   // it asks whether the columns' types fit
	rows     []int  // it returns positions in these, counted from 1
	messages []int  // whose rows it inserts, if messages may have several
	// compares: the positions of rows in conflict are negative, each with the id of the message that has
	// stored the other one. Without rows it fails if there are some.
	compares bool
	// all are the rows of an insert that replaces, and newest the newest with the key of each; nil if
	// that is the row itself. A statement has only these, in rows.
	all, newest []int
}

// answer is what the server answered to one segment.
type answer struct {
	rows    int       // of its inserts, that are done
	written []written // the same for each part; nil if there was no insert
	// Of inserts that replace: the rows that they wrote, those that are not done, and those of the latter
	// that they did not have.
	wrote, undone, unsent []int

	// Of messages that may have several rows: those that have nothing new, those of which a row has a key
	// that was stored, and those of which some have, and others are new.
	there, overlaps, partly []int
	outdated                []int // of those that have nothing new, if the insert is committed

	found     []int // the rows that statements returned
	conflicts []conflict
	values    []int64  // that statements returned, in rows and columns of 8 bytes
	text      []byte   // that a statement returned
	fit       []*part  // those whose columns fit
	refused   *refusal // the segment's error, without what quotes values
	at        sent     // the statement that was refused; zero if that was at the end of the segment
	tag       string   // of the last statement that succeeded
}

// written is how many rows inserts have done, and how: those that have a newer one in their statement
// are not written.
type written struct {
	rows int
	message.Tally
}

// doneIn returns how many rows of a part are done.
func (a *answer) doneIn(p *part) int {
	if a.written == nil || a.refused != nil {
		return 0
	}
	return a.written[p.position].rows
}

// isNew reports whether a row was written.
func (a *answer) isNew() bool {
	return a.refused == nil && slices.ContainsFunc(a.written, func(w written) bool { return w.Tally != message.Tally{} })
}

// all returns how many rows are done.
func (a *answer) all() int {
	if a.refused != nil {
		return 0
	}
	return a.rows
}

func (in *insertion) roundTrip(ctx context.Context) *roundTrip {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithCancel(ctx)
	return &roundTrip{deadline: deadline, in: in, p: in.conn.StartPipeline(ctx), cancel: cancel, sent: in.conn.sent[:0], ends: in.conn.ends[:0]}
}

// add adds a statement without parameters.
func (rt *roundTrip) add(sql string) { rt.addParams(sent{}, sql, nil, nil) }

// addParams adds a statement with parameters.
func (rt *roundTrip) addParams(s sent, sql string, params [][]byte, formats []int16) {
	rt.p.SendQueryParams(sql, params, nil, formats, binary)
	rt.sent = append(rt.sent, s)
}

func (p *part) formNow() insert { return p.form }

// inserts returns the forms of the insert of the part's rows.
func (p *part) inserts() inserts {
	if p.in.batch.HasGroups() {
		return p.sql.unsorted
	}
	return p.sql.insert
}

// insert adds the insert of the given rows that skips those that are stored, as one statement for each
// table.
func (rt *roundTrip) insert(rows []int) {
	rt.insertAll(rows, func(p *part) insert { return p.inserts().skipping }, false)
}

// StatementRows is how many rows one statement inserts at most. The server is slower for each row of
// longer arrays, and it works on one statement while the next one is encoded.
const StatementRows = 1000

// insertAll adds inserts of the given rows in some form, for each table in one statement, or in several
// if they may be divided. It reports whether some are. Where rows have message groups the last
// statement fails if one is discarded: then those that follow it must not be committed.
func (rt *roundTrip) insertAll(rows []int, form func(*part) insert, mayDivide bool) (divided bool) {
	in := rt.in
	limited := false
	for p := range in.each(rows) { // ahead of all inserts: the server skips what follows a refused one
		rt.prepare(sent{of: p, insert: form(p)})
		for _, child := range p.children {
			if form(p).first {
				rt.prepare(sent{of: child, insert: child.sql.insert.first})
			}
		}
	}
	for p, own := range in.each(rows) {
		size := in.batch.RowsOf(own)
		if mayDivide && size > StatementRows && (p.keys.byBytes() || in.batch.HasGroups()) { // otherwise the statement sorts them
			size, divided = StatementRows, true
		}
		whole := size == in.batch.RowsOf(own)
		if !limited && (len(own) < len(rows) || !whole || p.several()) {
			rt.add(limits(rt.deadline)) // the server has locks now while it waits for the next part
			limited = true
		}
		if whole {
			rt.insertRows(p, form(p), own)
			rt.flush()
		} else {
			for _, part := range in.batch.Divide(own, size) {
				rt.insertRows(p, form(p), part)
				rt.flush()
			}
		}
	}
	if in.batch.HasGroups() {
		for p, own := range in.each(rows) {
			if p.table.Ledger == "" && !p.several() { // otherwise the statement fails by itself
				rt.keysOrVersions(sent{of: p}, p.sql.allPresent, own)
			}
		}
	}
	for p, own := range in.each(rows) {
		if p.rejectsConflicts() && (in.batch.HasGroups() || p.table.Several) { // nothing else of the group or the message may be stored
			rt.query(sent{of: p, compares: true}, p.sql.noConflict, own)
		}
	}
	return divided
}

func (rt *roundTrip) insertRows(p *part, insert insert, rows []int) {
	if p.several() {
		rt.insertMessages(p, insert, rows)
		return
	}
	s := sent{of: p, insert: insert}
	if p.replaces() {
		s.all = rows
		rows, s.newest = rt.in.leaveOut(rows)
		s.rows = rows
	}
	rt.execute(s, rt.arrays(p, rows), p.formats)
}

// prepare prepares an insert, if the connection has not.
func (rt *roundTrip) prepare(s sent) {
	insert, conn := s.insert, rt.in.conn
	before, preparing := conn.prepared[insert.name], rt.prepares[insert.name]
	if !conn.named || before == insert.sql || preparing == insert.sql {
		return
	}
	if before != "" || preparing != "" {
		rt.add("DEALLOCATE " + insert.name)
	}
	rt.p.SendPrepare(insert.name, insert.sql, nil)
	rt.sent = append(rt.sent, s)
	if rt.prepares == nil {
		rt.prepares = map[string]string{}
	}
	rt.prepares[insert.name] = insert.sql
}

// execute adds an insert, which is prepared where statements are.
func (rt *roundTrip) execute(s sent, params [][]byte, formats []int16) {
	if !rt.in.conn.named {
		rt.addParams(s, s.insert.sql, params, formats)
		return
	}
	rt.p.SendQueryPrepared(s.insert.name, params, formats, binary)
	rt.sent = append(rt.sent, s)
}

// arrays returns the parameters for all columns of rows.
func (rt *roundTrip) arrays(p *part, rows []int) [][]byte {
	arrays := &rt.in.conn.arrays
	arrays.SetTextTypes(p.textTypes)
	return rt.size(arrays.Encode(rt.in.batch, p.table, rows))
}

// query adds a statement about all columns of rows.
func (rt *roundTrip) query(s sent, sql string, rows []int) {
	rt.addParams(s, sql, rt.arrays(s.of, rows), s.of.formats)
}

// present adds the question which of the given rows' keys are in their tables.
func (rt *roundTrip) present(rows []int) {
	for p, own := range rt.in.each(rows) {
		rt.keysOrVersions(sent{of: p, rows: rt.messages(p, own)}, p.sql.present, own)
	}
}

// messages returns whose message each element of the arrays of rows is of.
func (rt *roundTrip) messages(p *part, rows []int) []int {
	return rt.in.conn.arrays.Messages(rt.in.batch, p.table, rows)
}

// keysOrVersions adds a statement about the keys of rows, and their versions where the newest stays.
func (rt *roundTrip) keysOrVersions(s sent, sql string, rows []int) {
	if s.of.replaces() {
		rt.versions(s, sql, rows)
	} else {
		rt.keys(s, sql, rows)
	}
}

// versions adds a statement about the keys and the versions of rows.
func (rt *roundTrip) versions(s sent, sql string, rows []int) {
	arrays := &rt.in.conn.arrays
	arrays.SetTextTypes(s.of.textTypes)
	rt.addParams(s, sql, rt.size(arrays.EncodeVersions(rt.in.batch, s.of.table, rows)), s.of.versionFormats)
}

// keys adds a statement about the keys of rows.
func (rt *roundTrip) keys(s sent, sql string, rows []int) {
	arrays := &rt.in.conn.arrays
	arrays.SetTextTypes(s.of.textTypes)
	rt.addParams(s, sql, rt.size(arrays.EncodeKeys(rt.in.batch, s.of.table, rows)), s.of.keyFormats)
}

// uncompiled keeps the server from compiling the queries of the catalog, up to the end of the
// segment: they are long, and in a database of thousands of tables their estimated cost is high.
// That took 10 seconds (tried: 10,000 tables), and the queries themselves half a second.
const uncompiled = "SELECT set_config('jit', 'off', true)"

// askKeys adds the question how keys compare, as a segment of its own.
func (rt *roundTrip) askKeys(p *part) {
	t := p.table
	rt.add(uncompiled)
	rt.addParams(sent{of: p}, keysSQL, [][]byte{[]byte(keyTable(t)), keyColumns(t), []byte(table(t)), comparedColumns(t)}, nil)
	rt.ask(func(a *answer) {
		p.learnKeys(a)
		p.learn()
		if p.parent != nil { // its statements are about the children too
			rt.in.ofTable[p.index].learn()
		}
	})
}

// askOnce adds the question how keys compare to the first round trip of a connection.
func (rt *roundTrip) askOnce() {
	for _, p := range rt.in.withChildren() {
		if !p.keysAsked {
			p.keysAsked = true
			rt.askKeys(p)
		}
	}
}

// askCatalog adds the query of the catalog, as a segment of its own.
func (rt *roundTrip) askCatalog(p *part) {
	ledgers := ""
	if p.table.Ledger != "" {
		ledgers = ledger(p.table)
	}
	rt.add(uncompiled)
	rt.addParams(sent{of: p}, catalogSQL, [][]byte{[]byte(table(p.table)), []byte(ledgers)}, nil)
	rt.ask(func(a *answer) {
		p.destination.learn(a)
		p.catalog, p.catalogIsOurs = p.freshCatalog(), true
	})
}

// ask ends a segment whose answer only learn gets. If it fails, that does no harm.
func (rt *roundTrip) ask(learn func(*answer)) {
	if rt.asks == nil {
		rt.asks = map[int]func(*answer){}
	}
	rt.asks[len(rt.ends)] = learn
	rt.endSegment()
}

// endRequired ends a segment that looks keys up. If it fails, so does the round trip.
func (rt *roundTrip) endRequired() {
	if rt.required == nil {
		rt.required = map[int]bool{}
	}
	rt.required[len(rt.ends)] = true
	rt.endSegment()
}

// binary is the format of all results, and of all parameters but those that a type reads as text.
var binary = []int16{1}

// formats returns the formats of columns' parameters.
func formats(columns []batch.Column) []int16 {
	if !slices.ContainsFunc(columns, func(c batch.Column) bool { return c.AsText }) {
		return binary
	}
	all := make([]int16, len(columns))
	for i := range columns {
		all[i] = columns[i].Format()
	}
	return all
}

// flushSize bounds what is kept in memory before it is sent.
const flushSize = 64 << 10

// size counts the bytes of parameters, and makes room for them.
func (rt *roundTrip) size(params [][]byte) [][]byte {
	n := 0
	for _, p := range params {
		n += 4 + len(p) // with its length
	}
	rt.sized += n
	rt.in.conn.Frontend().Send(&room{rt.in.conn, n + maxBind})
	return params
}

// maxBind is more than what a Bind has besides its parameters, and the messages after it.
const maxBind = 8 << 10

// room is a message of no bytes that makes room for others. The driver begins each flush with a
// buffer of 1 KB: it grew a dozen times for a statement, which took longer than to encode it.
type room struct {
	conn *conn
	size int
}

// Encode implements pgproto3.FrontendMessage.
func (r *room) Encode(dst []byte) ([]byte, error) {
	c, need := r.conn, len(dst)+r.size
	switch {
	case cap(dst) >= need:
		return dst, nil
	case need > maxSendBuffer:
		return slices.Grow(dst, r.size), nil
	case cap(c.sendBuffer) < need:
		c.sendBuffer = make([]byte, 0, need)
	}
	return append(c.sendBuffer[:0], dst...), nil
}

// Decode implements pgproto3.FrontendMessage.
func (*room) Decode([]byte) error { return nil }

// Frontend implements pgproto3.FrontendMessage.
func (*room) Frontend() {}

// maxSendBuffer bounds what a connection keeps.
const maxSendBuffer = 1 << 20

// endSegment closes a segment, and sends what has been added if it is much.
func (rt *roundTrip) endSegment() {
	rt.p.SendPipelineSync()
	rt.ends = append(rt.ends, len(rt.sent))
	rt.flush()
}

// flush sends what has been added, if it is much.
func (rt *roundTrip) flush() {
	if rt.sized >= flushSize {
		rt.sized = 0
		_ = rt.p.Flush() // an error stays, and finish finds it
	}
}

// finish sends what is left and reads the answers, one for each segment that was not a question.
func (rt *roundTrip) finish() ([]answer, error) {
	defer rt.cancel()
	answers, err := rt.read()
	rt.in.conn.sent, rt.in.conn.ends = kept(rt.sent), kept(rt.ends)
	if closeErr := rt.p.Close(); err == nil && closeErr != nil && asServer(closeErr) == nil {
		err = closeErr
	}
	return answers, err
}

// maxKept is how many statements a connection keeps memory for.
const maxKept = 16

// kept returns memory to keep, which refers to nothing.
func kept[T any](all []T) []T {
	if cap(all) > maxKept {
		return nil
	}
	clear(all)
	return all[:0]
}

func (rt *roundTrip) read() ([]answer, error) {
	if err := rt.p.Flush(); err != nil {
		return nil, err
	}
	answers := make([]answer, 0, len(rt.ends))
	var a answer
	var failed *refusal
	next := 0 // of the statements, the one that the next result is of
	for segment := 0; segment < len(rt.ends); {
		results, err := rt.p.GetResults()
		var s sent
		if next < rt.ends[segment] {
			s = rt.sent[next]
		}
		if err == nil {
			switch r := results.(type) {
			case *pgconn.PipelineSync:
				if learn := rt.asks[segment]; learn != nil {
					learn(&a)
				} else {
					if a.refused != nil && rt.required[segment] { // what follows fails because of it
						failed, rt.stopOn = a.refused, nil
					}
					if rt.stopOn != nil && a.refused != nil {
						if err := rt.stopOn(&a); err != nil {
							rt.cancel() // tells the server to stop: what is left would take locks for nothing
							return nil, err
						}
					}
					answers = append(answers, a)
				}
				a = answer{}
				next = rt.ends[segment]
				segment++
			case *pgconn.StatementDescription:
				rt.in.conn.prepared[s.insert.name] = s.insert.sql
				next++
			case *pgconn.ResultReader:
				if err = rt.take(&a, r, s); err == nil {
					next++
				}
			case nil:
				return nil, errors.New("the server answered too little")
			}
		}
		if err != nil {
			server := asServer(err)
			if server == nil || endsSession(server) { // nothing follows it
				return nil, err
			}
			if a.refused == nil {
				a.refused, a.at = &refusal{PgError: bare(server), in: rt.in, of: s.of}, s
				a.refused.conflict = s.compares && server.Code == discardedState
				a.refused.ofParameter()
			}
		}
	}
	if failed != nil {
		f := failed.part().errorOf(failed.part().lookingUp, failed.PgError)
		f.of = failed.of
		return nil, f
	}
	return answers, nil
}

// bare returns an error of the server without the texts that quote values, of which there can be
// thousands: they are no evidence, and nothing keeps them.
func bare(err *pgconn.PgError) *pgconn.PgError {
	text := ""
	if ofPooler(err) {
		text = err.Message
	}
	return &pgconn.PgError{
		Message: text, Code: err.Code, SchemaName: err.SchemaName, TableName: err.TableName, ColumnName: err.ColumnName,
		ConstraintName: err.ConstraintName, DataTypeName: err.DataTypeName, Where: withoutParameters(withoutValue(err.Where)), Routine: err.Routine, Position: err.Position,
	}
}

// bound begins the outermost entry of a context if the server could not read a parameter: its
// number, and then its value. The parameters of a statement follow a colon.
var bound = regexp.MustCompile(`(?m)^[^\n=:"'«»„“(]*[0-9][^\n=:"'«»„“(]* = '`)

// withoutValue returns a context without the value of a parameter that the server could not read:
// all values of a column (log_parameter_max_length_on_error). Its quotes stay.
func withoutValue(context string) string {
	if !strings.Contains(context, " = '") {
		return context
	}
	for _, m := range bound.FindAllStringIndex(context, -1) {
		if rest, ok := afterQuoted(context[m[1]-1:]); ok && !strings.ContainsAny(rest, "\n\"'") {
			return context[:m[1]] + "'" + rest
		}
	}
	return context
}

// withoutParameters returns a context without the entry that quotes the statement's parameters
// (log_parameter_max_length_on_error). It is the outermost entry, so the last. Its words follow
// lc_messages, and values can have newlines.
func withoutParameters(context string) string {
	const first = "$1 = "
	for i := 0; ; i += len(first) {
		found := strings.Index(context[i:], first)
		if found < 0 {
			return context
		}
		i += found
		if areParameters(context[i:]) {
			return strings.Clone(context[:max(strings.LastIndexByte(context[:i], '\n'), 0)])
		}
	}
}

// areParameters reports whether a text is $1 = '…', $2 = NULL, … to its end, where French has a
// bracket. A statement within a context is followed by a quote or by the next entry.
func areParameters(text string) bool {
	for n := 1; ; n++ {
		rest, ok := strings.CutPrefix(text, fmt.Sprintf("$%d = ", n))
		if !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(rest, "NULL"); !ok {
			if rest, ok = afterQuoted(rest); !ok {
				return false
			}
		}
		if text, ok = strings.CutPrefix(rest, ", "); !ok {
			return !strings.ContainsAny(rest, "\n\"'")
		}
	}
}

// afterQuoted returns what follows a text in single quotes, in which quotes are doubled.
func afterQuoted(text string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(text, "'")
	for ok {
		if _, rest, ok = strings.Cut(rest, "'"); ok && !strings.HasPrefix(rest, "'") {
			return rest, true
		}
		rest = strings.TrimPrefix(rest, "'")
	}
	return "", false
}

// take reads the rows and the tag of one statement. A deferred constraint that fails gives a tag
// and an error, so the error decides.
func (rt *roundTrip) take(a *answer, r *pgconn.ResultReader, s sent) error {
	var w written
	if s.insert != (insert{}) && s.messages == nil && s.of.replaces() {
		w = a.takeReplaced(r, s)
	}
	var positions []int64
	var outdated []int
	found := len(a.found)
	for r.NextRow() {
		if s.compares && s.rows != nil {
			a.takeCompared(r.Values(), s)
			continue
		}
		for _, v := range r.Values() {
			switch {
			case len(v) != 8:
				a.text = append(a.text[:0], v...)
			case s.messages != nil:
				positions = append(positions, batch.Int(v))
			case s.insert != (insert{}): // the ledger's statement says how many rows it has stored
				w.Inserted += int(batch.Int(v))
			case s.rows != nil && batch.Int(v) < 0: // a newer one is stored
				row := s.rows[-batch.Int(v)-1]
				a.found, outdated = append(a.found, row), append(outdated, row)
			case s.rows != nil:
				a.found = append(a.found, s.rows[batch.Int(v)-1])
			default:
				a.values = append(a.values, batch.Int(v))
			}
		}
	}
	tag, err := r.Close()
	if err != nil {
		a.values, a.found = nil, nil
		return err
	}
	a.tag = tag.String()
	if s.rows != nil && s.of.table.Several && s.messages == nil {
		a.found = append(a.found[:found], complete(a.found[found:], s.rows)...)
		outdated = complete(outdated, s.rows)
	}
	rt.in.outdate(outdated)
	switch {
	case s.fit:
		a.fit = append(a.fit, s.of)
	case s.insert != (insert{}):
		if tag.Insert() {
			w.Inserted = int(tag.RowsAffected())
		}
		if !s.of.replaces() {
			w.rows = w.Inserted
		}
		if s.messages != nil {
			w = a.takeMessages(rt.in, s, positions)
		}
		a.add(rt.in, s.of, w)
	}
	return nil
}

// add adds what an insert has written.
func (a *answer) add(in *insertion, p *part, w written) {
	if a.written == nil {
		a.written = make([]written, len(in.parts))
	}
	of := &a.written[p.position]
	a.rows += w.rows
	of.rows += w.rows
	of.Inserted += w.Inserted
	of.Replaced += w.Replaced
}

// finish ends a round trip and counts it. Its error names what it was doing.
func (in *insertion) finish(ctx context.Context, doing string, rt *roundTrip) ([]answer, error) {
	in.result.RoundTrips++
	answers, err := rt.finish()
	if err != nil {
		if fault.Of(err) != nil {
			return nil, err
		}
		return nil, in.store.whyEnded(ctx, doing, err)
	}
	if err := contextErr(ctx); err != nil {
		// The wait for a standby may have been cut short by our own request to cancel.
		return nil, in.store.whyEnded(ctx, doing, err)
	}
	if in.conn.unconfirmed.Swap(false) {
		return nil, databaseError(fault.Error{
			Cause:  message.CauseTransient,
			What:   doing + ": committed here, and not confirmed by the synchronous standby",
			Remedy: "check pg_stat_replication, and what cancelled the wait",
		})
	}
	return answers, nil
}

package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestEveryServersText wants the text of the messages in the table, on a server of any encoding and
// whatever the role, the database or the URL sets. A text that the server cannot represent is
// rejected, also alone in its batch.
func TestEveryServersText(t *testing.T) {
	t.Parallel()
	const emoji = "\U0001f600"
	for _, tt := range []struct {
		options  string // of CREATE DATABASE
		set, url string // more that is set: SQL, with $db; and the URL's parameters
		keeps    []string
		cannot   []string
	}{
		{options: "ENCODING 'LATIN1'", keeps: []string{"Müller", "Ægir"}, cannot: []string{emoji, "Łódź", "€"}},
		{options: "ENCODING 'WIN1252'", keeps: []string{"Müller", "5 €"}, cannot: []string{emoji, "Łódź"}},
		{options: "ENCODING 'EUC_JP'", keeps: []string{"日本語"}, cannot: []string{emoji}},
		{options: "ENCODING 'UTF8'", set: "ALTER DATABASE $db SET client_encoding = 'LATIN1'", keeps: []string{"Müller", emoji, "Łódź"}},
		{options: "ENCODING 'UTF8'", url: "client_encoding=LATIN1", keeps: []string{"Müller", emoji}},
		{options: "ENCODING 'UTF8'", url: "Client_Encoding=LATIN1", keeps: []string{"Müller", emoji}},
		{options: "ENCODING 'UTF8'", url: "options=-cclient_encoding%3DLATIN1", keeps: []string{"Müller", emoji}},
		{options: "ENCODING 'SQL_ASCII'", keeps: []string{"Müller", emoji}},
	} {
		t.Run(tt.options+tt.set+tt.url, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t, tt.options+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", createEvents)
			if tt.set != "" {
				db.Exec(t, strings.ReplaceAll(tt.set, "$db", db.Rows(t, "SELECT quote_ident(current_database())")[0][0]))
			}
			url := db.URL
			if tt.url != "" {
				url += "&" + tt.url
			}
			store := openStore(t, url, events)
			id := int64(0)
			next := func(word string) row { id++; return row{id: id, word: word} }
			for _, word := range tt.keeps {
				insertInto(t, store, next(word)).must().inserts(1)
				hex, length := fmt.Sprintf("%x", word), fmt.Sprint(len([]rune(word)))
				got := db.Rows(t, "SELECT encode(CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN word::bytea ELSE convert_to(word, 'UTF8') END, 'hex'), length(word)::text FROM events WHERE id = $1", id)[0]
				if got[0] != hex || got[1] != length && !strings.Contains(tt.options, "SQL_ASCII") { // which knows no characters
					t.Errorf("%q is stored as %s with %s characters, want %s with %s", word, got[0], got[1], hex, length)
				}
			}
			for _, word := range tt.cannot {
				insertInto(t, store, next(word)).want(verdicts{rejected("22P05"): fmt.Sprint(id)})
				good, bad := next("good"), next(word)
				insertInto(t, store, good, bad, next("good")).inserts(2).want(verdicts{stored: fmt.Sprintf("%d %d", good.id, id), rejected("22P05"): fmt.Sprint(bad.id)})
			}
		})
	}
}

// TestATriggerThatChangesTheEncoding changes it for the session: no later batch uses that session.
func TestATriggerThatChangesTheEncoding(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, createEvents, `CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('client_encoding', 'LATIN1', false); RETURN NEW; END $$;
		CREATE TRIGGER change BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION change()`)
	store := openStore(t, db.URL, events)
	for id := range int64(3) {
		insertInto(t, store, row{id: id, word: "Müller"}).must().inserts(1)
	}
	if n := db.Count(t, "SELECT count(*) FROM events WHERE length(word) = 6"); n != 3 {
		t.Errorf("%d of 3 texts are as they were sent", n)
	}
}

// TestAKeyThatTheServerCannotRepresent has keys that no look-up can ask for. Their messages are
// rejected, and all others of the batch are done, however it is stored, and when it is delivered
// again.
func TestAKeyThatTheServerCannotRepresent(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text", "char(12)", "citext"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for _, others := range []int{0, 20, 200} {
				for _, fifo := range []bool{false, true} {
					if fifo && others > 20 {
						continue
					}
					db := pgtest.NewDatabase(t, "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", "CREATE EXTENSION citext; CREATE TABLE codes (code "+kind+" PRIMARY KEY, boss text)")
					s := siteOf(t, db, codes)
					rows := []code{{code: "5 €"}, {code: "Łódź"}, {code: "Łódź"}, {code: "Köln", boss: "€"}}
					for i := range others {
						rows = append(rows, code{code: fmt.Sprint("Müller", i)})
					}
					want := verdicts{rejected("22P05"): "1-4"}
					if others > 0 {
						want[stored] = fmt.Sprintf("5-%d", len(rows))
					}
					if fifo {
						rows = inOwnGroups(rows)
					}
					for range 2 {
						s.deliver(codes, rows...).want(want)
						if got := db.Count(t, "SELECT count(*) FROM codes"); got != int64(others) {
							t.Errorf("%d others, FIFO %v: got %d rows, want %d", others, fifo, got, others)
						}
					}
				}
			}
		})
	}
}

// TestAnEscapeThatTheServerCannotRepresent has an escape in a jsonb, which keeps the character
// itself. Its SQLSTATE depends on the server.
func TestAnEscapeThatTheServerCannotRepresent(t *testing.T) {
	t.Parallel()
	table := &batch.Table{
		Name:    "codes",
		Columns: []batch.Column{{Name: "code", Kind: batch.Text, Type: "text", NotNull: true}, {Name: "boss", Kind: batch.Text, Type: "jsonb"}},
		Key:     []int{0},
	}
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			const escape = `"\u20ac"`
			db := pgtest.NewDatabase(t, "ENCODING '"+encoding+"' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", "CREATE TABLE codes (code text PRIMARY KEY, boss jsonb)",
				"CREATE FUNCTION state() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM '"+escape+"'::jsonb; RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$")
			s := siteOf(t, db, table)
			refused := rejected(db.Rows(t, "SELECT state()")[0][0])
			s.deliver(table, code{code: "a", boss: escape}).want(verdicts{refused: "1"})
			s.deliver(table, code{code: "b", boss: escape}, code{code: "c", boss: `"\u0041"`}, code{code: "d", boss: escape}).want(verdicts{stored: "2", refused: "1 3"})
		})
	}
}

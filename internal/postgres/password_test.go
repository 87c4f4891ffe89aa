package postgres_test

import (
	"net"
	"net/url"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestPasswordsAsPsqlTakesThem has the server make the secrets of SCRAM.
func TestPasswordsAsPsqlTakesThem(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, createEvents)
	for name, password := range map[string]string{
		"ASCII":                         "secret",
		"a letter that NFKC changes":    "x²",
		"a ligature":                    "ﬁsh",
		"full width":                    "ｐａｓｓ",
		"composed and not":              "cafe\u0301 and caf\u00e9",
		"a space that is not ASCII":     "two\u00a0words\u2003more",
		"what is mapped to nothing":     "soft\u00adhyphen",
		"what is nothing and a space":   "zero\u200bwidth",
		"a character that is forbidden": "bell\u0007",
		"unassigned in Unicode 3.2":     "x²\U0001f600",
		"right to left":                 "שלום",
		"of both directions":            "שלום abc ²",
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // the roles share a schema, and so its grants
			var role string
			user := db.Role(t, func(r string) []string {
				role = r
				return []string{"GRANT INSERT, SELECT ON events TO " + r}
			})
			db.Exec(t, "ALTER ROLE "+role+" PASSWORD '"+password+"'")
			u, err := url.Parse(user.URL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(role, password)
			if err := openStore(t, u.String(), events).Ping(t.Context()); err != nil {
				t.Error(err)
			}
			u.User = url.UserPassword(role, password+"x")
			if err := openStore(t, u.String(), events).Ping(t.Context()); err == nil {
				t.Error("another password is taken")
			}
		})
	}
}

// TestPasswordsThatAreNotPrepared has a server that asks for a password in clear text, as for LDAP:
// it also gets the password as it is written, and no other form.
func TestPasswordsThatAreNotPrepared(t *testing.T) {
	t.Parallel()
	type try struct{ password, code, says string }
	for tt, want := range map[try][]string{
		{"x²", "28P01", "password authentication failed"}:           {"x2", "x²"},
		{"x²", "28000", "LDAP authentication failed"}:               {"x2", "x²"},
		{"x²", "08P01", "password authentication failed"}:           {"x2", "x²"}, // PgBouncer
		{"x²", "53300", "too many connections"}:                     {"x2"},
		{"plain", "28P01", "password authentication failed"}:        {"plain"},
		{"x²\U0001f600", "28P01", "password authentication failed"}: {"x2\U0001f600", "x²\U0001f600"},
	} {
		t.Run(tt.password+" "+tt.code, func(t *testing.T) {
			t.Parallel()
			heard := make(chan string, 10)
			listener := serve(listen(t), func(c net.Conn) {
				b := pgproto3.NewBackend(c, c)
				_, _ = b.ReceiveStartupMessage() // who hangs up is not heard
				b.Send(&pgproto3.AuthenticationCleartextPassword{})
				_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
				_ = b.Flush()
				if m, err := b.Receive(); err == nil {
					heard <- m.(*pgproto3.PasswordMessage).Password
				}
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: tt.code, Message: tt.says})
				_ = b.Flush()
			})
			u := url.URL{Scheme: "postgres", User: url.UserPassword("user", tt.password), Host: listener.Addr().String(), Path: "/app", RawQuery: "sslmode=disable"}
			if _, err := openStore(t, u.String(), events).Connect(t.Context()); err == nil {
				t.Fatal("connected")
			}
			close(heard)
			var got []string
			for p := range heard {
				got = append(got, p)
			}
			if !slices.Equal(got, want) {
				t.Errorf("the server heard %q, want %q", got, want)
			}
		})
	}
}

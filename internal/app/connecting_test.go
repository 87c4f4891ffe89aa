package app_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/testdoc"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

// rig is a function whose database cannot be reached; all else is right.
type rig struct {
	t       *testing.T
	environ map[string]string
	output  testlog.Log
}

// obstacle is one fault while connecting. The table of these is the
// specification, and a table in docs/operate.md is made from it.
type obstacle struct {
	group string // what the documentation calls the kind
	name  string
	build func(*rig)
	says  []string // in the error
	// fails is for configuration errors: the invocation fails. After a transient
	// fault the message is returned.
	fails bool
}

func obstacles() []obstacle {
	const (
		login     = "user, password or address are refused (28P01, 28000)"
		database  = "no such database, it takes no connections, no CONNECT privilege"
		parameter = "a parameter of the URL, of `PGOPTIONS` or `PGTZ` that the server or pgx does not know or take"
		starting  = "the server starts, stops, recovers, or has no connection left (57P03, 57P01, 53300)"
		refuses   = "PgBouncer or another pooler: no such database or user, login refused, parameter or TLS mode not supported"
		busy      = "PgBouncer or another pooler: no connection left, no server, a wait that was too long"
		network   = "nobody at host and port, no answer in time, a connection that breaks"
		noName    = "the host does not exist"
		tlsFault  = "TLS: not trusted, for another name, expired, not spoken there, a client certificate wanted"
		policy    = "the server does not offer what the URL requires of the login (`require_auth`, `channel_binding`), or is not Postgres"
		badSecret = "the secret is missing, forbidden, or not of the form: no user, a host with a port in it"
		noSecret  = "Secrets Manager throttles or does not answer"
		token     = "IAM: no credentials, no verified TLS, several hosts, a new token refused"
	)
	config := map[string]string{"28P01": "check the user and the password", "53300": "raise the limit"}
	return []obstacle{
		{login, "wrong password", (*rig).wrongPassword, []string{"28P01 (invalid_password): password authentication failed for user", config["28P01"]}, true},
		{login, "no entry in pg_hba.conf", fatal("28000", `no pg_hba.conf entry for host "10.0.0.5", user "u", database "app", no encryption`), []string{"28000", "no pg_hba.conf entry for host", config["28P01"]}, true},
		{login, "a role that may not log in", fatal("28000", `role "u" is not permitted to log in`), []string{"is not permitted to log in"}, true},

		{database, "it does not exist", func(r *rig) { r.change(func(u *url.URL) { u.Path = "/nowhere" }) }, []string{"3D000", `database "nowhere" does not exist`, "at the end of DATABASE_URL"}, true},
		{database, "it takes no connections", (*rig).closedDatabase, []string{"55000", "is not currently accepting connections", "ALLOW_CONNECTIONS true"}, true},
		{database, "no CONNECT", (*rig).noConnect, []string{"42501", "permission denied for database", "GRANT CONNECT ON DATABASE"}, true},
		{database, "it was dropped", fatal("57P04", "the database was dropped"), []string{"57P04"}, true},

		{parameter, "of another library", parameters("pool_max_conns=2"), []string{"42704", "pool_max_conns is not a setting of this server", "take it out of DATABASE_URL"}, true},
		{parameter, "a bad value", parameters("timezone=Mars"), []string{"22023", `"TimeZone": "Mars"`, "correct timezone in DATABASE_URL"}, true},
		{parameter, "a setting that a session cannot have", parameters("ssl=off"), []string{"55P02", "correct ssl in DATABASE_URL"}, true},
		{parameter, "options", parameters("options=-cnonsense%3D1"), []string{"42704", "nonsense", "options"}, true},
		{parameter, "options that are none", parameters("options=nonsense"), []string{"42601", "options"}, true},
		{parameter, "that only superusers may set", (*rig).forbiddenParameter, []string{"42501", "correct session_preload_libraries in DATABASE_URL"}, true},
		{parameter, "of pgx, with a bad value", parameters("sslmode=full"), []string{"DATABASE_URL: sslmode is not valid: it can be disable"}, true},
		{parameter, "a file that is missing", parameters("sslrootcert=/nowhere/ca.pem"), []string{"DATABASE_URL: sslrootcert: /nowhere/ca.pem: no such file"}, true},

		{starting, "it starts", fatal("57P03", "the database system is starting up"), []string{"57P03 (cannot_connect_now): the database system is starting up"}, false},
		{starting, "it stops", fatal("57P01", "terminating connection due to administrator command"), []string{"57P01"}, false},
		{starting, "no connection left", fatal("53300", "sorry, too many clients already"), []string{"53300", "too many clients", config["53300"]}, false},
		{starting, "the role's limit", fatal("53300", `too many connections for role "u"`), []string{"too many connections for role", config["53300"]}, false},
		{starting, "no memory", fatal("53200", "out of memory"), []string{"53200"}, false},
		{starting, "an error of its own", fatal("XX000", "could not open shared memory segment"), []string{"XX000"}, false},

		{refuses, "no such database", fatal("08P01", "no such database: app"), []string{"08P01 (protocol_violation): no such database: app", "check database, user, password"}, true},
		{refuses, "no such user", fatal("08P01", "no such user: u"), []string{"no such user"}, true},
		{refuses, "password", fatal("08P01", "password authentication failed"), []string{"password authentication failed", "check the user and the password"}, true},
		{refuses, "the pooler's own login", fatal("08P01", `server login has been failing, cached error: password authentication failed for user "p" (server_login_retry)`), []string{"server_login_retry", "check the user and the password"}, true},
		{refuses, "a parameter", func(r *rig) {
			fatal("08P01", "unsupported startup parameter: search_path")(r)
			parameters("search_path=app")(r)
		}, []string{"unsupported startup parameter", "take it out of DATABASE_URL"}, true},
		{refuses, "options", func(r *rig) {
			fatal("08P01", "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed")(r)
			parameters("options=nonsense")(r)
		}, []string{"unsupported options startup parameter", "check database, user, password and parameters"}, true},
		{refuses, "no password", fatal("08P01", "empty password returned by client"), []string{"empty password", "check database, user, password"}, true},
		{refuses, "clear text", fatal("08P01", "SSL required"), []string{"the pooler wants TLS"}, true},
		{refuses, "disabled", fatal("08P01", `database "app" is disabled`), []string{"is disabled"}, true},
		{refuses, "a tenant that is not there", fatal("XX000", "Tenant or user not found"), []string{"Tenant or user not found"}, true},
		{refuses, "at the first statement", firstStatement("08P01", "server login has been failing, cached error: database \"app\" does not exist (server_login_retry)"), []string{"does not exist"}, true},

		{busy, "no more clients", fatal("08P01", "no more connections allowed (max_client_conn)"), []string{"no more connections allowed", config["53300"]}, false},
		{busy, "a wait", fatal("08P01", "query_wait_timeout"), []string{"query_wait_timeout"}, false},
		{busy, "no server", fatal("08P01", "server login has been failing, try again later (server_login_retry)"), []string{"server_login_retry"}, false},
		{busy, "it stops", fatal("08P01", "pgbouncer is shutting down"), []string{"shutting down"}, false},
		{busy, "at the first statement", firstStatement("08P01", "query_wait_timeout"), []string{"query_wait_timeout"}, false},

		{network, "nobody", at("127.0.0.1:1"), []string{"127.0.0.1:1: connect: connection refused", "check host and port in DATABASE_URL"}, false},
		{network, "it hangs up", serves(func(net.Conn) {}), []string{"broke", "check host and port"}, false},
		{network, "it says nothing", serves(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), []string{"no answer from", "firewall or security group"}, false},
		{network, "only a replica", parameters("target_session_attrs=read-only"), []string{"is not what target_session_attrs asks for"}, false},

		{noName, "a name that is none", at("db..example.com"), []string{"the host db..example.com does not resolve", "check the host in DATABASE_URL"}, true},
		{noName, "in a secret", secret(http.StatusOK, `{"username":"u","password":"`+canary+`","host":"db..example.com"}`), []string{"db..example.com does not resolve"}, true},

		{tlsFault, "an unknown authority", func(r *rig) {
			r.certified("localhost", time.Now().Add(time.Hour), nil)
			parameters("sslmode=verify-full")(r)
		}, []string{"signed by an authority that is not trusted here", "sslrootcert"}, true},
		{tlsFault, "an unknown authority, and verify-ca", func(r *rig) {
			r.certified("localhost", time.Now().Add(time.Hour), nil)
			parameters("sslmode=verify-ca")(r)
		}, []string{"signed by an authority that is not trusted here", "sslrootcert"}, true},
		{tlsFault, "another name", func(r *rig) { r.trusted(r.certified("db.example.com", time.Now().Add(time.Hour), nil)) }, []string{"is for another host name", "the name that the certificate has"}, true},
		{tlsFault, "expired", func(r *rig) { r.trusted(r.certified("localhost", time.Now().Add(-time.Hour), nil)) }, []string{"is not valid", "check its dates"}, true},
		{tlsFault, "a client certificate", func(r *rig) {
			r.trusted(r.certified("localhost", time.Now().Add(time.Hour), &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}))
		}, []string{"ended the TLS handshake", "sslcert and sslkey"}, true},
		{tlsFault, "not spoken, on this machine", parameters("sslmode=verify-full"), []string{"does not speak TLS", "sslmode=disable"}, true},
		{tlsFault, "not spoken", func(r *rig) {
			r.change(func(u *url.URL) { u.Host = "0.0.0.0:" + u.Port() })
			parameters("sslmode=verify-full")(r)
		}, []string{"does not speak TLS", "turn TLS on there"}, true},

		{policy, "another method", parameters("require_auth=md5"), []string{"require_auth", "check the parameters in DATABASE_URL"}, true},
		{policy, "no channel binding", parameters("channel_binding=require"), []string{"channel binding", "check the parameters in DATABASE_URL"}, true},
		{policy, "not a Postgres", serves(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nwhat is this?")
		}), []string{"no session with", "that a Postgres answers there"}, true},

		{badSecret, "missing", secret(http.StatusBadRequest, "ResourceNotFoundException"), []string{"DATABASE_SECRET_ARN", "ResourceNotFoundException", "check DATABASE_SECRET_ARN"}, true},
		{badSecret, "forbidden", secret(http.StatusBadRequest, "AccessDeniedException"), []string{"allow secretsmanager:GetSecretValue"}, true},
		{badSecret, "a bare password", secret(http.StatusOK, canary), []string{"it is not a JSON object"}, true},
		{badSecret, "no user", secret(http.StatusOK, `{"password":"`+canary+`"}`), []string{`no "username"`}, true},
		{badSecret, "a port in the host", secret(http.StatusOK, `{"username":"u","password":"`+canary+`","host":"db.example.com:5432"}`), []string{`its "host" has a port in it`}, true},
		{badSecret, "several hosts", secret(http.StatusOK, `{"username":"u","password":"`+canary+`","host":"a.example.com,b.example.com"}`), []string{`names several hosts`}, true},
		{badSecret, "a URL for a host", secret(http.StatusOK, `{"username":"u","password":"`+canary+`","host":"postgres://db.example.com/app"}`), []string{`its "host" is not a host name`}, true},
		{badSecret, "a wrong password", (*rig).wrongSecret, []string{"28P01", "password authentication failed", "no other user and password"}, true},

		{noSecret, "throttled", secret(http.StatusBadRequest, "ThrottlingException"), []string{"ThrottlingException"}, false},
		{noSecret, "nobody", func(r *rig) { secret(0, "")(r); r.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = "http://127.0.0.1:1" }, []string{"no connection to 127.0.0.1:1"}, false},

		{token, "no credentials", func(r *rig) { r.iam("postgres://u@db.example.com/app"); delete(r.environ, "AWS_ACCESS_KEY_ID") }, []string{"no AWS credentials"}, true},
		{token, "no region", func(r *rig) { r.iam("postgres://u@db.example.com/app"); delete(r.environ, "AWS_REGION") }, []string{"DATABASE_IAM_AUTH needs a region"}, true},
		{token, "not verified", func(r *rig) { r.iam("postgres://u@db.example.com/app?sslmode=require") }, []string{"sslmode=verify-full"}, true},
		{token, "in clear text", func(r *rig) { r.iam("postgres://u@db.example.com/app?sslmode=disable") }, []string{"sslmode=verify-full"}, true},
		{token, "this machine", func(r *rig) { r.iam("postgres://u@localhost/app") }, []string{"sslmode=verify-full"}, true},
		{token, "several hosts", func(r *rig) { r.iam("postgres://u@a.example.com,b.example.com/app") }, []string{"signed for one host"}, true},
		{token, "refused", func(r *rig) {
			r.trusted(r.certified("localhost", time.Now().Add(time.Hour), nil))
			r.iam(r.environ["DATABASE_URL"])
		}, []string{"PAM authentication failed", "GRANT rds_iam"}, true},
	}
}

// TestFaultsWhileConnecting: the error names the cause and the remedy, and no
// password. A configuration error fails the invocation.
func TestFaultsWhileConnecting(t *testing.T) {
	t.Parallel()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	const id = "11111111-1111-4111-8111-111111111111"
	event := fmt.Sprintf(`{"Records":[{"messageId":%q,"receiptHandle":"h","body":"{\"user_id\":\"u-1\"}","attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1767225600000"},"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:logins","awsRegion":"eu-central-1"}]}`, id)
	for _, o := range obstacles() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, m.DDL()...)
			r := &rig{t: t, environ: map[string]string{
				"DATABASE_URL": db.URL, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef",
				"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
			}}
			o.build(r)
			options := app.Options{Environ: r.environ, Log: slog.New(slog.NewJSONHandler(&r.output, nil))}
			if !o.fails && r.environ["DATABASE_SECRET_ARN"] == "" {
				options.AltDatabase = &app.Database{Scheme: "postgres://", Open: impatient}
			}
			h, stop := app.NewHandler(t.Context(), options, nil)
			defer stop()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := h.Invoke(ctx, []byte(event))
			said := strings.ReplaceAll(r.output.String(), `\"`, `"`)
			if err != nil {
				said += err.Error()
			}
			if o.fails != (err != nil) {
				t.Errorf("the invocation ended with %s, %v", answer, err)
			}
			if !o.fails && string(answer) != `{"batchItemFailures":[{"itemIdentifier":"`+id+`"}]}` {
				t.Errorf("answered %s, want the message returned", answer)
			}
			for _, want := range o.says {
				if !strings.Contains(said, want) {
					t.Errorf("got %s, want %q", said, want)
				}
			}
			password := "canary"
			if u, err := url.Parse(r.environ["DATABASE_URL"]); err == nil {
				if p, ok := u.User.Password(); ok {
					password = p
				}
			}
			if strings.Contains(said, "canary") || strings.Contains(said, password) {
				t.Errorf("a password shows: %s", said)
			}
		})
	}
}

// impatient opens a store that tries again without the pauses in between.
func impatient(databaseURL string, tables []*batch.Table, names fault.Names) (app.Store, error) {
	return postgres.Open(databaseURL, tables, postgres.WithNames(names), postgres.WithSleep(func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }))
}

// change changes the URL.
func (r *rig) change(f func(*url.URL)) {
	r.t.Helper()
	u, err := url.Parse(r.environ["DATABASE_URL"])
	if err != nil {
		r.t.Fatal(err)
	}
	f(u)
	r.environ["DATABASE_URL"] = u.String()
}

// parameters adds to the URL's, as they are written.
func parameters(more string) func(*rig) {
	return func(r *rig) { r.change(func(u *url.URL) { u.RawQuery += "&" + more }) }
}

// at moves the database to another address.
func at(address string) func(*rig) {
	return func(r *rig) {
		r.change(func(u *url.URL) { u.Host, u.RawQuery = address, "sslmode=disable&connect_timeout=1" })
	}
}

// serves puts something else where the database should be.
func serves(serve func(net.Conn)) func(*rig) {
	return func(r *rig) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = c.Close() }()
					serve(c)
				}()
			}
		}()
		at(l.Addr().String())(r)
	}
}

// fatal is a server that answers every login with an error.
func fatal(state, text string) func(*rig) {
	return serves(func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: state, Message: text})
		_ = b.Flush() // who hangs up, asks again
	})
}

// firstStatement is one that takes the login and ends the first statement.
func firstStatement(state, text string) func(*rig) {
	return serves(func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if _, err := b.Receive(); err != nil {
			return
		}
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: state, Message: text})
		_ = b.Flush()
		_, _ = io.Copy(io.Discard, c) // a reset could overtake the error
	})
}

func (r *rig) wrongPassword() {
	r.change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "canary-password") })
}

// own connects to a new database, as a role without rights.
func (r *rig) own() (owner *pgtest.DB, role string) {
	owner = pgtest.NewDatabase(r.t, "")
	user := owner.Role(r.t, func(name string) []string { role = name; return nil })
	r.environ["DATABASE_URL"] = user.URL
	return owner, role
}

func (r *rig) closedDatabase() {
	owner, _ := r.own()
	elsewhere, allow := pgtest.New(r.t), "ALTER DATABASE "+databaseOf(r.t, owner.URL)+" ALLOW_CONNECTIONS "
	elsewhere.Exec(r.t, allow+"false")
	r.t.Cleanup(func() { elsewhere.Exec(r.t, allow+"true") })
}

func (r *rig) noConnect() {
	owner, _ := r.own()
	owner.Exec(r.t, "REVOKE CONNECT ON DATABASE "+databaseOf(r.t, owner.URL)+" FROM PUBLIC")
}

func (r *rig) forbiddenParameter() {
	r.own()
	parameters("session_preload_libraries=x")(r)
}

func databaseOf(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// secret has the login in a secret. Secrets Manager answers with a text or an error.
func secret(status int, says string) func(*rig) {
	return func(r *rig) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			body := map[string]string{"SecretString": says}
			if status != http.StatusOK {
				body = map[string]string{"__type": says}
			}
			_ = json.NewEncoder(w).Encode(body) // who hangs up, asks again
		}))
		r.t.Cleanup(server.Close)
		r.environ["DATABASE_SECRET_ARN"] = "sluice/database"
		r.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = server.URL
	}
}

func (r *rig) wrongSecret() {
	r.t.Helper()
	u, err := url.Parse(r.environ["DATABASE_URL"])
	if err != nil {
		r.t.Fatal(err)
	}
	secret(http.StatusOK, `{"username":"`+u.User.Username()+`","password":"canary-password"}`)(r)
}

func (r *rig) iam(databaseURL string) {
	r.environ["DATABASE_URL"], r.environ["DATABASE_IAM_AUTH"] = databaseURL, "true"
}

// certified is a server with a self-signed certificate, which refuses logins. It
// returns a file with the certificate.
func (r *rig) certified(name string, until time.Time, config *tls.Config) (file string) {
	r.t.Helper()
	pair := pgtest.SelfSigned(r.t, until, name)
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.Certificates = []tls.Certificate{pair}
	serves(func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil { // the wish for TLS
			return
		}
		if _, err := c.Write([]byte("S")); err != nil {
			return
		}
		secured := tls.Server(c, config)
		b := pgproto3.NewBackend(secured, secured)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: `PAM authentication failed for user "u"`})
		_ = b.Flush()
	})(r)
	r.change(func(u *url.URL) { u.Host, u.RawQuery = "localhost:"+u.Port(), "" })
	file = filepath.Join(r.t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

func (r *rig) trusted(file string) {
	parameters("sslmode=verify-full&sslrootcert=" + url.QueryEscape(file))(r)
}

// TestTheDocumentationHasTheFaultsWhileConnecting compares docs/operate.md with
// the table above.
func TestTheDocumentationHasTheFaultsWhileConnecting(t *testing.T) {
	t.Parallel()
	table, fails := "| while connecting | cause | the invocation |\n|---|---|---|\n", map[string]bool{}
	for _, o := range obstacles() {
		became := "| transient | returns the messages |"
		if o.fails {
			became = "| configuration | fails |"
		}
		switch one, known := fails[o.group]; {
		case !known:
			table += "| " + o.group + " " + became + "\n"
			fails[o.group] = o.fails
		case one != o.fails:
			t.Errorf("%s: two of one group end otherwise: %s", o.group, o.name)
		}
	}
	testdoc.Section(t, "../../docs/operate.md", "connecting", table)
}

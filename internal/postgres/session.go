package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// sessionCodes is the table of SQLSTATEs of a server, or a pooler in front of
// it, that gives no session: a code of five characters goes before its class of
// two. What is not listed does not pass by itself: no row is to blame, and
// nothing is stored before somebody knows.
var sessionCodes = map[string]blame{
	"08": blameTransient, "25": blameTransient, "40": blameTransient, "53": blameTransient, "57": blameTransient, "58": blameTransient, "XX": blameTransient,
	"55006": blameTransient, "55P03": blameTransient, // the database is in use by a command
	"57P04": blameConfiguration, // it was dropped
	"58P01": blameConfiguration, // a library that is to be loaded is missing
}

// poolerRefusals are in texts of poolers that do not pass by themselves. Their
// codes do not tell: PgBouncer has 08P01 for nearly everything, others XX000.
// Source: src/client.c and src/objects.c of PgBouncer 1.16 to 1.25.
var poolerRefusals = []string{
	"no such database", "no such user", "bad user", "does not exist", "not found", "not specified", "is disabled", "does not allow connections",
	"authentication failed", "auth failed", "no credentials", "wrong password", "login rejected", "login failed", "no authentication",
	"unsupported startup parameter", "unsupported options startup parameter", "unsupported protocol", "unsupported frontend", "config error", "permission denied",
	"ssl required", "requires tls", "certificate", "no username", "username too long", "password too long", "empty password",
}

// fatal reports whether an error ended the session. Poolers send no severity
// but in words.
func fatal(err *pgconn.PgError) bool {
	return err.SeverityUnlocalized == "FATAL" || err.Severity == "FATAL"
}

// judgeSession says whose fault it is that there is no session: the text counts
// where the code says little.
func judgeSession(err *pgconn.PgError) blame {
	if pooled := err.Code == "08P01" || strings.HasPrefix(err.Code, "XX"); pooled && poolerRefuses(err) {
		return blameConfiguration
	}
	b, ok := sessionCodes[err.Code]
	if !ok {
		b, ok = sessionCodes[err.Code[:min(2, len(err.Code))]]
	}
	if !ok {
		return blameConfiguration
	}
	return b
}

func poolerRefuses(err *pgconn.PgError) bool {
	text := strings.ToLower(err.Message)
	return !strings.Contains(text, "prepared statement") && slices.ContainsFunc(poolerRefusals, func(part string) bool { return strings.Contains(text, part) })
}

// loginRefused reports whether a server refused user or password, so that
// others may help. Postgres has 28000 for LDAP, PAM and RADIUS, and PgBouncer 08P01.
func loginRefused(err *pgconn.PgError) bool {
	return err.Code == "28P01" || err.Code == "28000" || err.Code == "08P01" && strings.Contains(strings.ToLower(err.Message), "authentication failed")
}

// sessionRefused judges an error of the server before there is a session. Its
// text holds no values of rows then, and says most.
func (s *Store) sessionRefused(err *pgconn.PgError, c *pgconn.Config) obstacle {
	return obstacle{
		what: describeSession(err), remedy: s.sessionRemedy(err, c),
		configuration: judgeSession(err) == blameConfiguration, state: err.Code,
	}
}

func describeSession(err *pgconn.PgError) string {
	code := "SQLSTATE " + err.Code
	if name := conditions[err.Code]; name != "" {
		code += " (" + name + ")"
	}
	if err.Message == "" {
		return code
	}
	return code + ": " + oneLine(err.Message)
}

// oneLine makes a text that somebody else wrote fit for an error.
func oneLine(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// sessionRemedy says what to do about it.
func (s *Store) sessionRemedy(err *pgconn.PgError, c *pgconn.Config) string {
	const maxClients = "lower the number of concurrent invocations, or raise the limit: max_connections, CONNECTION LIMIT of the role or the database, or that of the pooler"
	text := strings.ToLower(err.Message)
	if name := s.culprit(err, c); name != "" {
		where := s.target.url.source(name)
		if err.Code == "42704" || err.Code == "08P01" {
			return fmt.Sprintf("%s is not a setting of this server, nor a parameter that pgx knows: take it out of %s", name, where)
		}
		return fmt.Sprintf("correct %s in %s, or take it out", name, where)
	}
	switch err.Code {
	case "28P01", "28000":
		return "check the user and the password in DATABASE_URL, and the server's pg_hba.conf"
	case "3D000":
		return "check the name of the database at the end of DATABASE_URL"
	case "42501":
		if err.Routine == "CheckMyDatabase" {
			return fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", batch.Quote(c.Database), batch.Quote(c.User))
		}
		return "the role may not have what is set for it: check the parameters in DATABASE_URL"
	case "55000":
		return fmt.Sprintf("if it is to take connections: ALTER DATABASE %s ALLOW_CONNECTIONS true; else check the name of the database in DATABASE_URL", batch.Quote(c.Database))
	case "42704", "42601", "42602", "22023", "55P02":
		return "check the parameters in DATABASE_URL, as options, and PGOPTIONS"
	case "53300":
		return maxClients
	case "57P03":
		return "it passes when the server is up"
	case "25006":
		return "this server is a replica or read only; it passes when the fail-over is done"
	case "58P01":
		return "a file that the server loads for each session is missing there: check session_preload_libraries"
	case "P0001":
		return "a login event trigger of the database refuses the session: check that"
	case "08P01":
		switch {
		case strings.Contains(text, "no more connections") || strings.Contains(text, "connections exceeded"):
			return maxClients
		case strings.Contains(text, "ssl required") || strings.Contains(text, "requires tls"):
			return fmt.Sprintf("the pooler wants TLS: set sslmode=verify-full (%s)", s.target.url.source("sslmode"))
		case poolerRefuses(err):
			return "the pooler refuses it: check database, user, password and parameters in DATABASE_URL, and the pooler's own configuration"
		}
		return "the pooler says so: check that it reaches its server"
	}
	return ""
}

// culprit finds the parameter that an error is about: of those that were sent,
// the one that it quotes. The words around it depend on the server's language.
func (s *Store) culprit(err *pgconn.PgError, c *pgconn.Config) string {
	switch err.Code {
	case "42704", "42601", "42602", "22023", "55P02", "42501", "08P01":
	default:
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(c.RuntimeParams)) {
		if name == "client_encoding" || name == "application_name" {
			continue
		}
		if quoted := strings.ToLower(name); strings.Contains(strings.ToLower(err.Message), `"`+quoted+`"`) || strings.HasSuffix(strings.ToLower(err.Message), ": "+quoted) {
			return name
		}
	}
	return ""
}

package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// connURL is a connection URL. It is taken apart no further than is needed: pgx reads it as it is
// written, and net/url has no URL with several hosts.
type connURL struct {
	name       string // of the setting that holds it, for errors
	text       string // up to the query
	parameters []parameter
}

// parameter is one parameter of the query: its name, its value, and how it is written.
type parameter struct{ name, value, raw string }

// splitURL takes a URL apart. Errors call it by the name of its setting.
func splitURL(text, name string) (connURL, error) {
	u := connURL{name: name}
	if text == "" {
		return u, nil
	}
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return u, badForm(u.name)
	}
	hosts := 0
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' { // a password may have a question mark
		hosts = i
	}
	query := ""
	if i := strings.IndexByte(rest[hosts:], '?'); i >= 0 {
		rest, query = rest[:hosts+i], rest[hosts+i+1:]
	}
	u.text = scheme + "://" + rest
	// The rest of a password with an @ or a slash would be taken for a host, looked up, and shown
	// in errors.
	if authority, path, _ := strings.Cut(rest, "/"); strings.Count(authority, "@") > 1 || strings.Contains(path, "@") {
		return u, badForm(u.name)
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(strings.Trim(key, " ")) // pgx, like libpq, ignores blanks around it
		if err != nil || name == "" && pair != "" {
			return u, badQuery(u.name)
		}
		if value, err = url.PathUnescape(strings.Trim(value, " ")); err != nil {
			return u, badQuery(u.name)
		}
		if pair != "" && (name != "sslmode" || value != "") { // an empty sslmode is an unset one
			u.parameters = append(u.parameters, parameter{name, value, pair})
		}
	}
	return u, nil
}

// badForm returns the error of a URL that cannot be read up to its query.
func badForm(name string) error {
	return errors.New(name + " is not a valid URL; expected postgres://user:password@host:5432/database (in a password write @ : / as %40 %3A %2F)")
}

// badQuery returns the error of a URL whose query cannot be read.
func badQuery(name string) error {
	return errors.New(name + " is not a valid URL; expected postgres://user:password@host:5432/database?name=value&name=value (in a value write = & % as %3D %26 %25)")
}

// with returns the URL with more parameters, each after an ampersand.
func (u *connURL) with(more string) string {
	var query []string
	for _, p := range u.parameters {
		query = append(query, p.raw)
	}
	return cmp.Or(u.text, "postgres://") + "?" + strings.TrimPrefix(strings.Join(query, "&")+more, "&")
}

// has reports whether the URL itself has a parameter.
func (u *connURL) has(name string) bool {
	if name == "port" {
		hosts := u.text[strings.LastIndexByte(u.text, '@')+1:]
		hosts, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(hosts, "postgres://"), "postgresql://"), "/")
		if i := strings.LastIndexByte(hosts, ']'); strings.Contains(hosts[i+1:], ":") {
			return true
		}
	}
	return slices.ContainsFunc(u.parameters, func(p parameter) bool { return p.name == name })
}

// setting returns the value of a parameter, or of the environment variable that stands for it.
func (u *connURL) setting(name string) string {
	for _, p := range slices.Backward(u.parameters) {
		if p.name == name {
			return p.value
		}
	}
	_, value := environment(name)
	return value
}

// source returns the name of the setting that a parameter comes from.
func (u *connURL) source(name string) string {
	if variable, value := environment(name); value != "" && !u.has(name) {
		return variable
	}
	return u.name
}

// environment returns the variable that stands for a parameter, and its value.
func environment(name string) (variable, value string) {
	i := slices.IndexFunc(known, func(k setting) bool { return k.name == name })
	if i < 0 {
		return "", ""
	}
	return known[i].variable, os.Getenv(known[i].variable) //nolint:forbidigo // pgx reads it too
}

// setting is a parameter, and the variable that pgx reads if the URL has none.
type setting struct {
	name, variable string
	harmless       string // a value that is valid
	want           string // what is valid, for errors
}

// known are the parameters that pgx checks or sends.
var known = []setting{
	{"sslmode", "PGSSLMODE", "require", "disable, allow, prefer, require, verify-ca or verify-full"},
	{"sslrootcert", "PGSSLROOTCERT", "", "a file of certificates in PEM, or system"},
	{"sslcert", "PGSSLCERT", "&sslkey=", "a file of a certificate in PEM, and sslkey the file of its key (with sslpassword if that is encrypted)"},
	{"sslcertmode", "PGSSLCERTMODE", "allow", "disable, allow or require"},
	{"sslnegotiation", "PGSSLNEGOTIATION", "postgres", "postgres or direct"},
	{"sslsni", "PGSSLSNI", "1", "0 or 1"},
	{"channel_binding", "PGCHANNELBINDING", "prefer", "disable, prefer or require"},
	{"require_auth", "PGREQUIREAUTH", "", "a list such as scram-sha-256,md5 or !password"},
	{"connect_timeout", "PGCONNECT_TIMEOUT", "0", "a number of seconds"},
	{"target_session_attrs", "PGTARGETSESSIONATTRS", "any", "any, read-write, read-only, primary, standby or prefer-standby"},
	{"min_protocol_version", "PGMINPROTOCOLVERSION", "3.0", "3.0, 3.2 or latest, and no more than max_protocol_version"},
	{"max_protocol_version", "PGMAXPROTOCOLVERSION", "latest", "3.0, 3.2 or latest, and no less than min_protocol_version"},
	{"port", "PGPORT", "5432", "a number from 1 to 65535, or one for each host"},
	{"default_query_exec_mode", "", "cache_statement", "cache_statement, cache_describe, describe_exec, exec or simple_protocol"},
	{"statement_cache_capacity", "", "512", "a number"},
	{"description_cache_capacity", "", "512", "a number"},
	// These are not checked alone, or only by the server.
	{name: "sslkey", variable: "PGSSLKEY"},
	{name: "service", variable: "PGSERVICE"},
	{name: "timezone", variable: "PGTZ"},
	{name: "options", variable: "PGOPTIONS"},
	{name: "application_name", variable: "PGAPPNAME"},
}

// problem returns which settings pgx does not take, and why. It shows no value: one can be a
// password in the wrong place. It replaces one after the other by a value that is valid, until
// nothing is wrong or something else is.
func (u *connURL) problem(more string) error {
	var bad []string
	complaint, err := u.complaint(more)
	for complaint != "" {
		var repaired string
		i := slices.IndexFunc(known, func(k setting) bool {
			repaired = more + "&" + k.name + "=" + k.harmless
			next, _ := u.complaint(repaired)
			return k.want != "" && next != complaint
		})
		if i < 0 {
			break
		}
		bad = append(bad, u.invalid(known[i].name, known[i].want, err))
		more = repaired
		complaint, err = u.complaint(more)
	}
	switch {
	case complaint == "":
	case strings.Contains(complaint, "failed to read service"): // no other value repairs it
		bad = append(bad, u.invalid("service", "the name of a service in the file of PGSERVICEFILE", err))
	default:
		if _, err := (&connURL{name: u.name, text: u.text}).complaint(more); err == nil {
			return badQuery(u.name)
		}
		return badForm(u.name)
	}
	return errors.New(strings.Join(bad, ", and "))
}

// read has pgx read the URL with more parameters, and checks what pgx does not.
func (u *connURL) read(more string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(u.with(more))
	if err != nil {
		return nil, err
	}
	whole, err := splitURL(u.with(more), u.name)
	if err != nil {
		return nil, err
	}
	for _, check := range []struct {
		name  string
		valid []string
	}{{"sslnegotiation", []string{"", "postgres", "direct"}}, {"sslsni", []string{"", "0", "1"}}} {
		if !slices.Contains(check.valid, whole.setting(check.name)) {
			return nil, errors.New(check.name + " is not valid")
		}
	}
	return config, nil
}

// complaint returns what is wrong with the URL and more parameters, without what pgx quotes of it.
func (u *connURL) complaint(more string) (string, error) {
	_, err := u.read(more)
	if err == nil {
		return "", nil
	}
	text := err.Error()
	return text[strings.LastIndex(text, "`: ")+1:], err
}

// invalid returns what is wrong with one setting.
func (u *connURL) invalid(name, want string, err error) string {
	file, ok := errors.AsType[*fs.PathError](err)
	if name == "sslcert" && (ok && file.Path == u.setting("sslkey") || u.setting("sslcert") == "") {
		name, want = "sslkey", "the file of a key in PEM, and sslcert the file of its certificate"
	}
	where := u.source(name)
	if where == u.name {
		where += ": " + name
	}
	if name == "port" && where == u.name+": port" {
		return badForm(u.name).Error() // most likely a part of the password
	}
	if ok {
		return fmt.Sprintf("%s: %s: %v", where, file.Path, file.Err)
	}
	return fmt.Sprintf("%s is not valid: it can be %s", where, want)
}

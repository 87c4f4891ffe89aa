// Package samlocal adapts the environment of a function that `sam local` runs
// in a container on a developer's machine.
package samlocal

import (
	"log/slog"
	"maps"
	"net"
	"net/url"
	"strings"
)

// Host is this machine's name in the container: Docker Desktop knows it, and
// samconfig.toml adds it elsewhere.
const Host = "host.docker.internal"

// Environ returns the variables that the function should read. Outside of
// `sam local` these are environ itself.
//
// SAM resolves a reference to a resource to its name in the template: such a
// dead-letter queue or mask secret is skipped, and so is back-off, since the
// messages of an event file are in no queue. A database on this machine's
// loopback is reached by the name Host.
func Environ(environ map[string]string, log *slog.Logger) map[string]string {
	if environ["AWS_SAM_LOCAL"] != "true" {
		return environ
	}
	environ = maps.Clone(environ)
	var skipped []string
	skip := func(name, why string) {
		if environ[name] != "" && why != "" {
			skipped = append(skipped, name+": "+why)
			delete(environ, name)
		}
	}
	skip("DEAD_LETTER_QUEUE_URL", unusableQueue(environ["DEAD_LETTER_QUEUE_URL"]))
	skip("SLUICE_MASK_SECRET_ARN", unusableSecret(environ["SLUICE_MASK_SECRET_ARN"]))
	skip("SLUICE_BACKOFF", "the event's messages are in no queue")
	if len(skipped) > 0 {
		log.Info("sam local: skipped what is not here", "settings", skipped)
	}
	for _, name := range []string{"DATABASE_URL", "PG_URL"} {
		if there := onHost(environ[name]); there != environ[name] {
			environ[name] = there
			log.Info("sam local: the database on this machine is "+Host+" to the container; on Linux it must listen on more than loopback", "variable", name)
		}
	}
	return environ
}

// unusableQueue reports why a queue's URL cannot be used, if it cannot.
func unusableQueue(value string) string {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "":
		return "not a URL but a name in the template"
	case loopback(u.Hostname()):
		return "on this machine, which the container's SQS client cannot reach"
	}
	return ""
}

// unusableSecret reports why a secret's ARN cannot be used, if it cannot.
func unusableSecret(value string) string {
	if strings.HasPrefix(value, "arn:") {
		return ""
	}
	return "not an ARN but a name in the template"
}

// onHost returns the database's URL with Host instead of loopback hosts. TLS is
// then as for loopback, unless the URL has sslmode or names other hosts too.
func onHost(databaseURL string) string {
	scheme, rest, _ := strings.Cut(databaseURL, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, hasPath := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@') + 1

	all, moved := 0, 0
	move := func(list string, split func(string) (host, port string)) string {
		if list == "" {
			return ""
		}
		parts := strings.Split(list, ",")
		for i, part := range parts {
			if host, port := split(part); loopback(host) {
				parts[i] = Host + port
				moved++
			}
		}
		all += len(parts)
		return strings.Join(parts, ",")
	}
	there := scheme + "://" + authority[:at] + move(authority[at:], hostPort)
	if hasPath {
		there += "/" + path
	}
	setsTLS, separator := false, "?"
	add := func(pair string) {
		there += separator + pair
		separator = "&"
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "":
			continue
		case "sslmode", "ssl":
			setsTLS = setsTLS || value != ""
		case "host":
			if hosts, err := url.PathUnescape(value); err == nil { // libpq does not read a plus as a space
				pair = "host=" + url.PathEscape(move(hosts, func(host string) (string, string) { return host, "" }))
			}
		}
		add(pair)
	}
	if moved == 0 {
		return databaseURL
	}
	if moved == all && !setsTLS {
		add("sslmode=prefer")
	}
	return there
}

// hostPort splits one host of a URL, as localhost:5432 or [::1]:5432.
func hostPort(part string) (host, port string) {
	if inside, after, ok := strings.Cut(strings.TrimPrefix(part, "["), "]"); ok {
		return inside, after
	}
	if i := strings.LastIndexByte(part, ':'); i >= 0 {
		return part[:i], part[i:]
	}
	return part, ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

package lambdaenv

import (
	"context"
	"maps"
	"net"
	"net/url"
	"strings"
	"sync"

	"example.com/owner/sluice/internal/app"
)

// hostName is this machine's name in the container: Docker Desktop knows it, and
// samconfig.toml adds it elsewhere.
const hostName = "host.docker.internal"

// local adapts the options of a function that `sam local` runs in a container on
// a developer's machine, and of no other.
//
// SAM resolves a reference to a resource to its name in the template: such a
// dead-letter queue or mask secret is skipped, and so is back-off, since the
// messages of an event file are in no queue. A database on this machine's
// loopback is reached by the name hostName. TLS is as for loopback.
func local(o app.Options) app.Options {
	if o.Environ["AWS_SAM_LOCAL"] != "true" {
		return o
	}
	environ := maps.Clone(o.Environ)
	o.Environ = environ
	var skipped []string
	skip := func(name, why string) {
		if environ[name] != "" && why != "" {
			skipped = append(skipped, name+": "+why)
			delete(environ, name)
		}
	}
	skip("DEAD_LETTER_QUEUE_URL", unusableQueue(environ["DEAD_LETTER_QUEUE_URL"]))
	if !strings.HasPrefix(environ["SLUICE_MASK_SECRET_ARN"], "arn:") {
		skip("SLUICE_MASK_SECRET_ARN", "not an ARN but a name in the template")
	}
	skip("SLUICE_BACKOFF", "the event's messages are in no queue")
	if len(skipped) > 0 {
		o.Log.Info("sam local: skipped what is not here", "settings", skipped)
	}
	onHost := sync.OnceFunc(func() {
		o.Log.Info("sam local: the database on this machine is " + hostName + " to the container; on Linux it must listen on more than loopback")
	})
	o.Lookup = func(ctx context.Context, host string) ([]string, error) {
		if loopback(host) {
			onHost()
			host = hostName
		}
		return net.DefaultResolver.LookupHost(ctx, host)
	}
	return o
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

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

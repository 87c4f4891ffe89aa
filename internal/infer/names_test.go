package infer_test

import (
	"testing"

	"sluice/internal/infer"
)

func TestLooksLikeData(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"user_id": false, "userId": false, "User-Agent": false, "odd name": false, "größe": false, "address1": false, "line_2": false,
		"sha256": false, "md5": false, "x-amz-id-2": false, "@type": false, "$ref": false, "_id": false, "#": false, "last4": false,
		"数": false, "s3SchemaVersion": false, "oauth2": false, "utf8": false,

		"": true, "7": true, "-1": true, "1e5": true, "2026-01-31": true, "jan2026": true, "ann@example.com": true, "203.0.113.7": true, "2001:db8::1": true,
		"6f1c0000-0000-4000-8000-000000000001": true, "deadbeefdeadbeef": true, "u-1": true, "user_17": true, "user:7": true, "arn:aws:sqs:x": true,
		"https://example.com": true, "+49 30 1234567": true, "00:1b:44:11:3a:b7": true, "a1b2c3d4": true, "one of several words here": true,
		"tab\t": true, "\u202ename": true, "\u200bname": true, "\ufffd": true, "a-name-that-is-longer-than-any-identifier-that-somebody-would-write": true,
	} {
		if got := infer.LooksLikeData(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestRare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n, bodies int
		want      bool
	}{{1, 1, false}, {1, 9, false}, {1, 10, true}, {2, 10, false}, {4, 1000, true}, {5, 1000, false}} {
		if got := infer.Rare(tt.n, tt.bodies); got != tt.want {
			t.Errorf("%d of %d: got %v", tt.n, tt.bodies, got)
		}
	}
}

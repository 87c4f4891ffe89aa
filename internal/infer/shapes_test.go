package infer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShapes drafts models of the messages in test/shapes, each sent several times with another id:
// the draft accepts them all, and has the paths and the steps that a person would write.
func TestShapes(t *testing.T) {
	t.Parallel()
	known := map[string]struct {
		id   string // a part of the body that is different in each
		want []string
	}{
		"cloudevents": {"A-20260131-17", []string{
			"which are CloudEvents.", "key: [source, id] #", " receipt: {type: integer, required: true, path: $.data.receipt} #",
			" time: {type: timestamp, required: true} #", " period: {type: interval, required: true, path: $.data.period} #",
		}},
		"debezium": {"2207", []string{
			"which are change events such as Debezium's.", " id: {type: integer, required: true, path: $.after.id} #", " balance: {type: numeric, accept: [string], required: true, path: $.after.balance} #",
			" opened_at: {type: timestamp, format: unix_us, required: true, path: $.after.opened_at} #", " email: {type: email, personal: true, required: true, path: $.after.email} #",
			" last_ip: {type: ip, personal: true, required: true, path: $.after.last_ip} #", " labels: {type: text, list: true, required: true, path: $.after.labels} #", " # $.before: null in all bodies\n",
		}},
		"dynamodb": {"0f1e2d3c4b5a69788796a5b4c3d2e1fb", []string{
			"which are records of a DynamoDB stream.", "key: [event_id] #", " amount: {type: numeric, accept: [string], required: true, path: $.dynamodb.NewImage.amount.N} #",
			" refunded: {type: boolean, required: true, path: $.dynamodb.NewImage.refunded.BOOL} #", " tags: {type: text, list: true, required: true, path: $.dynamodb.NewImage.tags.SS} #",
			" payer_email: {type: email, personal: true, required: true, path: $.dynamodb.NewImage.payer.M.email.S} #",
		}},
		"eventbridge": {"91c7f0aa", []string{
			"which are EventBridge events.", "key: [id] #", " invoice_number: {type: text, required: true, path: $.detail.invoice.number} #", " invoice_amount: {type: numeric, required: true, path: $.detail.invoice.amount} #",
			" invoice_lines: {type: json, required: true, path: $.detail.invoice.lines} #", " resources: {type: text, list: true, required: true} #",
		}},
		"github": {"70010023", []string{
			"rows: \"$.commits[*]\"\n", " repository_id: {type: integer, required: true, path: $.repository.id, layer: 0} #", " pusher_email: {type: email, personal: true, required: true, path: $.pusher.email, layer: 0} #",
			" author_email: {type: email, personal: true, required: true, path: $.author.email} #", " id: {type: text, required: true} #", " head_commit_timestamp: {type: timestamp, required: true, path: $.head_commit.timestamp, layer: 0} #",
		}},
		"gzip": {"17", []string{"unwrap: [base64, gzip]\n"}},
		"iot": {"4711", []string{
			" ts: {type: timestamp, format: unix_ms, required: true} #", " seq: {type: integer, required: true} #", " humidity: {type: numeric, accept: [string], required: true} #",
			" mac: {type: text, personal: true, required: true} #", " battery_mv: {type: integer, required: true, path: $.battery.mv} #", " uptime: {type: interval, required: true} #",
		}},
		"s3": {"006A7B1C2D3E4F50A5", []string{
			"which are records such as S3's notifications.", "rows: \"$.Records[*]\"\n", " event_time: {type: timestamp, required: true, path: $.eventTime} #", " s3_object_size: {type: integer, required: true, path: $.s3.object.size} #",
			" request_parameters_source_ip_address: {type: ip, personal: true, required: true, path: $.requestParameters.sourceIPAddress} #",
		}},
		"segment": {"88412", []string{
			" properties_order_id: {type: text, required: true, path: $.properties.order_id} #", " properties_revenue: {type: numeric, required: true, path: $.properties.revenue} #",
			" context_ip: {type: ip, personal: true, required: true, path: $.context.ip} #", " original_timestamp: {type: timestamp, required: true, path: $.originalTimestamp} #", " # $.properties.coupon: null in all bodies\n",
		}},
		"sns-raw": {"1001", []string{
			" order_total: {type: numeric, accept: [string], required: true, path: $.order.total} #", " order_customer_email: {type: email, personal: true, required: true, path: $.order.customer.email} #",
		}},
		"sns": {"5d1c6a0e", []string{
			"which are SNS notifications.", "key: [message_id] #", "unwrap: [{json: $.Message}]\n", " order_total: {type: numeric, accept: [string], required: true, path: $.order.total} #",
			" topic_arn: {type: text, required: true, path: $.TopicArn, layer: 0} #",
		}},
		"stripe": {"evt_made0up0for0this0test", []string{
			" created: {type: timestamp, format: unix, required: true} #", " data_object_amount: {type: integer, required: true, path: $.data.object.amount} #",
			" data_object_receipt_email: {type: email, personal: true, required: true, path: $.data.object.receipt_email} #", " # $.request.id: null in all bodies\n",
		}},
	}
	folders, err := filepath.Glob("../../test/shapes/*")
	if err != nil || len(folders) < len(known) {
		t.Fatalf("%d shapes: %v", len(folders), err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			shape, ok := known[filepath.Base(folder)]
			if !ok {
				t.Fatal("this shape has no wanted draft")
			}
			body := shapeBody(t, folder)
			if !strings.Contains(body, shape.id) {
				t.Fatalf("the body has no %s", shape.id)
			}
			var bodies []string
			for i := range 12 {
				changed := fmt.Sprintf("%02d", 20+i)
				copied := strings.ReplaceAll(body, shape.id, shape.id[:len(shape.id)-2]+changed)
				if filepath.Base(folder) == "gzip" {
					copied = compressed(t, copied, false)
				}
				bodies = append(bodies, copied)
			}
			text, m := draft(t, bodies...)
			for _, want := range shape.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			accepts(t, text, m, bodies...)
		})
	}
}

// shapeBody returns the body of a shape in one line, without the steps that wrap it.
func shapeBody(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "body.json"))
	if os.IsNotExist(err) {
		text, err = os.ReadFile(filepath.Join(folder, "body.txt"))
		if err == nil {
			zipped, decodeErr := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
			in, zipErr := gzip.NewReader(bytes.NewReader(zipped))
			if decodeErr != nil || zipErr != nil {
				t.Fatal(decodeErr, zipErr)
			}
			text, err = io.ReadAll(in)
		}
	}
	var line bytes.Buffer
	if err == nil {
		err = json.Compact(&line, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return line.String()
}

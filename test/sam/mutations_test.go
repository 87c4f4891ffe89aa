package sam_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A mutation breaks the template. The rule that it names must fail in some scenario.
type mutation struct {
	name, rule string
	apply      func(t template)
}

// set changes, or with nil removes, what is at a path in Resources.
func set(value any, path ...any) func(template) {
	return func(t template) { change(at(t, "Resources"), value, path...) }
}

func change(root, value any, path ...any) {
	parent, last := at(root, path[:len(path)-1]...), path[len(path)-1]
	switch last := last.(type) {
	case string:
		if value == nil {
			delete(object(parent), last)
			return
		}
		object(parent)[last] = value
	case int:
		elements(parent)[last] = value
	}
}

func setAny(value any, path ...any) func(template) {
	return func(t template) { change(t, value, path...) }
}

// replaced changes a text in Resources.
func replaced(before, after string, path ...any) func(template) {
	return func(t template) {
		was := text(at(t, append([]any{"Resources"}, path...)...))
		if !strings.Contains(was, before) {
			panic("no " + before)
		}
		change(at(t, "Resources"), strings.Replace(was, before, after, 1), path...)
	}
}

func ref(name string) any { return map[string]any{"Ref": name} }

// statement returns a statement of a role by its Sid.
func statement(t template, role, sid string) map[string]any {
	for _, s := range elements(at(t, append([]any{"Resources", role}, statements...)...)) {
		if choice := at(s, "Fn::If"); choice != nil {
			s = elements(choice)[1]
		}
		if object(s)["Sid"] == sid {
			return object(s)
		}
	}
	panic("no statement " + sid)
}

// statements is the path of a role's statements.
var statements = []any{"Properties", "Policies", 0, "PolicyDocument", "Statement"}

func widen(role, sid, key string, value any) func(template) {
	return func(t template) { change(statement(t, role, sid), value, key) }
}

// forbid takes what a statement allows.
func forbid(role, sid string) func(template) { return widen(role, sid, "Effect", "Deny") }

// ofPolicy changes the statement with a Sid in a queue's policy, or with nil removes a key of it.
func ofPolicy(policy, sid, key string, value any) func(template) {
	return func(t template) {
		for _, s := range elements(at(t, "Resources", policy, "Properties", "PolicyDocument", "Statement")) {
			if choice := at(s, "Fn::If"); choice != nil {
				s = elements(choice)[1]
			}
			if object(s)["Sid"] == sid {
				change(s, value, key)
				return
			}
		}
		panic("no statement " + sid)
	}
}

const queueOf = "Queue"

var mutations = []mutation{
	{"FunctionResponseTypes removed", "mapping", set(nil, "IngestMapping", "Properties", "FunctionResponseTypes")},
	{"FunctionResponseTypes misspelled", "mapping", set([]any{"ReportBatchItemFailure"}, "IngestMapping", "Properties", "FunctionResponseTypes")},
	{"mapping of SAM beside it", "mapping", set(map[string]any{"Batch": map[string]any{"Type": "SQS"}}, "IngestFunction", "Properties", "Events")},
	{"filter added", "mapping", set(map[string]any{"Filters": []any{}}, "IngestMapping", "Properties", "FilterCriteria")},
	{"window on FIFO", "mapping", set(1, "IngestMapping", "Properties", "MaximumBatchingWindowInSeconds")},
	{"1000 on FIFO", "mapping", set(ref("BatchSize"), "IngestMapping", "Properties", "BatchSize")},
	{"batch size that is a word", "mapping", set("many", "IngestMapping", "Properties", "BatchSize")},
	{"no window", "mapping", set(nil, "IngestMapping", "Properties", "MaximumBatchingWindowInSeconds")},
	{"a reserved concurrency of its own", "mapping", set(5, "IngestFunction", "Properties", "ReservedConcurrentExecutions")},
	{"nothing reserved", "mapping", set(nil, "IngestFunction", "Properties", "ReservedConcurrentExecutions")},
	{"reserved for migrate", "mapping", set(1, "MigrateFunction", "Properties", "ReservedConcurrentExecutions")},
	{"no MaximumConcurrency", "mapping", set(nil, "IngestMapping", "Properties", "ScalingConfig")},
	{"MaximumConcurrency beside pollers", "mapping", set(map[string]any{"MaximumConcurrency": ref("MaximumConcurrency")}, "IngestMapping", "Properties", "ScalingConfig")},
	{"pollers ignored", "mapping", set(nil, "IngestMapping", "Properties", "ProvisionedPollerConfig")},
	{"visibility lowered", "timeouts", set(199, queueOf, "Properties", "VisibilityTimeout")},
	{"lower visibility allowed", "timeouts", setAny(199, "Parameters", "VisibilityTimeoutSeconds", "MinValue")},
	{"function's timeout raised", "timeouts", setAny(31, "Globals", "Function", "Timeout")},
	{"function's timeout of 5000", "timeouts", setAny(5000, "Globals", "Function", "Timeout")},
	{"longer windows allowed", "timeouts", setAny(21, "Parameters", "BatchWindowSeconds", "MaxValue")},
	{"maxReceiveCount lowered", "redrive", set(197, queueOf, "Properties", "RedrivePolicy", "maxReceiveCount")},
	{"redrive policy removed", "redrive", set(nil, queueOf, "Properties", "RedrivePolicy")},
	{"dead-letter queue dropped", "redrive", set(nil, "DeadLetterQueue")},
	{"dead-letter queue dropped", "references", set(nil, "DeadLetterQueue")},
	{"standard dead-letter queue on FIFO", "redrive", set(nil, "DeadLetterQueue", "Properties", "FifoQueue")},
	{"rejects not sent", "redrive", set("", "IngestFunction", "Properties", "Environment", "Variables", "DEAD_LETTER_QUEUE_URL")},
	{"retention as long as the source's", "redrive", set(604800, "DeadLetterQueue", "Properties", "MessageRetentionPeriod")},
	{"retention as long as the dead-letter queue's allowed", "redrive", setAny(1209600, "Parameters", "RetentionSeconds", "MaxValue")},
	{"messages kept for a minute", "redrive", set(60, queueOf, "Properties", "MessageRetentionPeriod")},
	{"deduplication by content", "redrive", set(true, queueOf, "Properties", "ContentBasedDeduplication")},
	{"no room for the reject's attribute", "redrive", set(1048576, queueOf, "Properties", "MaximumMessageSize")},
	{"no room for the reject's attribute allowed", "redrive", setAny(1048576, "Parameters", "MaximumMessageBytes", "MaxValue")},
	{"not encrypted", "queues", set(nil, "DeadLetterQueue", "Properties", "SqsManagedSseEnabled")},
	{"key ignored", "queues", set(nil, queueOf, "Properties", "KmsMasterKeyId")},
	{"requests without TLS", "queues", set(nil, "QueuePolicy")},
	{"queue deleted with the stack", "data outlives", set("Delete", queueOf, "DeletionPolicy")},
	{"mask key deleted with the stack", "data outlives", set(nil, "MaskSecret", "DeletionPolicy")},
	{"queue left by a failed first deploy", "data outlives", set("Retain", "DeadLetterQueue", "DeletionPolicy")},
	{"mask key replaced away", "data outlives", set("Delete", "MaskSecret", "UpdateReplacePolicy")},
	{"another length draws another key", "mask key", set(65, "MaskSecret", "Properties", "GenerateSecretString", "PasswordLength")},
	{"quotes in the key", "mask key", set(nil, "MaskSecret", "Properties", "GenerateSecretString", "ExcludePunctuation")},
	{"dead letters for everybody", "readers", ofPolicy("DeadLetterQueuePolicy", "OnlyReadersReceive", "Action", nil)},
	{"readers ignored", "readers", ofPolicy("DeadLetterQueuePolicy", "OnlyReadersReceive", "Condition", nil)},
	{"readers who may not", "readers", ofPolicy("DeadLetterQueuePolicy", "ReadersLookAndSendBack", "Effect", "Deny")},
	{"readers by wildcard", "readers", setAny("^.*$", "Parameters", "DeadLetterReaderArns", "AllowedPattern")},
	{"queue for everybody", "readers", ofPolicy("QueuePolicy", "OnlyTheFunctionAndReadersReceive", "Action", "sqs:DeleteMessage")},
	{"queue for everybody on a condition", "readers", ofPolicy("QueuePolicy", "OnlyTheFunctionAndReadersReceive", "Condition", map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}})},
	{"function that may not read", "readers", ofPolicy("QueuePolicy", "OnlyTheFunctionAndReadersReceive", "Condition", nil)},
	{"readers of the queue who may not", "readers", ofPolicy("QueuePolicy", "ReadersReceive", "Effect", "Deny")},
	{"readers of the queue by wildcard", "readers", setAny("^.*$", "Parameters", "QueueReaderArns", "AllowedPattern")},
	{"everybody reads", "readers", ofPolicy("QueuePolicy", "OthersSend", "Action", "sqs:*")},
	{"every topic sends", "senders", ofPolicy("QueuePolicy", "TopicsAndRulesSend", "Condition", nil)},
	{"every service sends", "senders", ofPolicy("QueuePolicy", "TopicsAndRulesSend", "Principal", map[string]any{"Service": "*"})},
	{"topics who may not send", "senders", ofPolicy("QueuePolicy", "TopicsAndRulesSend", "Action", "sqs:GetQueueUrl")},
	{"everybody sends", "senders", ofPolicy("QueuePolicy", "OthersSend", "Principal", map[string]any{"AWS": "*"})},
	{"accounts who may not send", "senders", ofPolicy("QueuePolicy", "OthersSend", "Effect", "Deny")},
	{"topics by wildcard", "senders", setAny("^arn:aws:sns:.*$", "Parameters", "SenderArns", "AllowedPattern")},
	{"a pattern without words", "refusals say what", setAny(nil, "Parameters", "QueueKmsKeyArn", "ConstraintDescription")},
	{"anybody by wildcard", "senders", setAny("^.*$", "Parameters", "SenderPrincipals", "AllowedPattern")},
	{"logs without the key", "keys", set(nil, "MigrateLogGroup", "Properties", "KmsKeyId")},
	{"mask secret without the key", "keys", set(nil, "MaskSecret", "Properties", "KmsKeyId")},
	{"variables without the key", "keys", setAny(nil, "Globals", "Function", "KmsKeyArn")},
	{"role without the boundary", "roles", set(nil, "DeploymentRole", "Properties", "PermissionsBoundary")},
	{"role at the root", "roles", set("/", "MigrateRole", "Properties", "Path")},
	{"not traced", "tracing", setAny(nil, "Globals", "Function", "Tracing")},
	{"traces for migrate alone", "least privilege", forbid("IngestRole", "Traces")},
	{"Fn::Contains on a parameter", "documented rules", setAny(map[string]any{"Fn::Contains": []any{ref("SubnetIds"), ""}}, "Rules", "NetworkIsWhole", "Assertions", 0, "Assert")},
	{"rule on a parameter that is a list", "documented rules", setAny("CommaDelimitedList", "Parameters", "SubnetIds", "Type")},
	{"role left to SAM", "least privilege", set(nil, "IngestFunction", "Properties", "Role")},
	{"one role for both", "least privilege", set(map[string]any{"Fn::GetAtt": []any{"IngestRole", "Arn"}}, "MigrateFunction", "Properties", "Role")},
	{"managed policy", "least privilege", set([]any{"arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"}, "IngestRole", "Properties", "ManagedPolicyArns")},
	{"every queue", "least privilege", widen("IngestRole", "Queue", "Resource", "*")},
	{"every action on the queue", "least privilege", widen("IngestRole", "Queue", "Action", "sqs:*")},
	{"every log", "least privilege", widen("IngestRole", "Logs", "Resource", "*")},
	{"every secret", "least privilege", widen("IngestRole", "Login", "Resource", "arn:aws:secretsmanager:*:*:secret:*")},
	{"every key", "least privilege", widen("IngestRole", "QueueKey", "Resource", "*")},
	{"key for any service", "least privilege", widen("IngestRole", "SecretKeys", "Condition", nil)},
	{"every database user", "least privilege", widen("IngestRole", "Database", "Resource", "arn:aws:rds-db:eu-central-1:123456789012:dbuser:*/*")},
	{"every secret for migrate", "least privilege", widen("MigrateRole", "OwnLogin", "Resource", "*")},
	{"mask key for migrate", "least privilege", widen("MigrateRole", "Login", "Resource", maskSecret)},
	{"all of EC2", "least privilege", widen("IngestRole", "Network", "Action", "ec2:*")},
	{"network for the function's code", "least privilege", widen("MigrateRole", "NoNetworkForTheCode", "Action", "ec2:DescribeSubnets")},
	{"no key of the mask secret allowed", "least privilege", forbid("IngestRole", "MaskKey")},
	{"mask key for any service", "least privilege", widen("IngestRole", "MaskKey", "Condition", nil)},
	{"role for anybody", "least privilege", set("*", "IngestRole", "Properties", "AssumeRolePolicyDocument", "Statement", 0, "Principal")},
	{"no back-off allowed", "least privilege", widen("IngestRole", "Queue", "Action", []any{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"})},
	{"no mask keys allowed", "least privilege", forbid("IngestRole", "NewMaskKeys")},
	{"no network allowed", "least privilege", forbid("MigrateRole", "Network")},
	{"outside of the network", "network", setAny(nil, "Globals", "Function", "VpcConfig")},
	{"variable undeclared", "variables", set(nil, "IngestFunction", "Properties", "Environment", "Variables", "SLUICE_MASK_KEYS")},
	{"variable that nothing reads", "variables", set("x", "IngestFunction", "Properties", "Environment", "Variables", "DATABASE_URI")},
	{"reserved variable", "variables", set("eu-central-1", "IngestFunction", "Properties", "Environment", "Variables", "AWS_REGION")},
	{"two ways to mask", "configuration", set("sha256", "IngestFunction", "Properties", "Environment", "Variables", "SLUICE_MASK")},
	{"back-off off", "configuration", set("false", "IngestFunction", "Properties", "Environment", "Variables", "SLUICE_BACKOFF")},
	{"another model by default", "configuration", setAny("orders", "Parameters", "Model", "Default")},
	{"model that does not exist", "configuration", set("users", "MigrateFunction", "Properties", "Environment", "Variables", "SLUICE_MODEL")},
	{"logs forever", "logs", set(nil, "IngestLogGroup", "Properties", "RetentionInDays")},
	{"level that drops the metrics", "logs", setAny([]any{"DEBUG", "INFO", "WARN"}, "Parameters", "LogLevel", "AllowedValues")},
	{"alarm on a metric that does not exist", "alarms", set("Returns", "ReturnedAlarm", "Properties", "Metrics", 1, "MetricStat", "Metric", "MetricName")},
	{"alarm that tells nobody", "alarms", set(nil, "ErrorsAlarm", "Properties", "AlarmActions")},
	{"alarm that hushes the end", "alarms", set(nil, "DeadLettersAlarm", "Properties", "OKActions")},
	{"alarm's expression of a metric that it has not", "alarms", set("IF(FILL(deletd, 0) > 0, 0, 0)", "ZeroDeletesAlarm", "Properties", "Metrics", 0, "Expression")},
	{"version of what has not changed", "gradual deployment", set("Stores the batches of the queue in Postgres.", "IngestFunction", "Properties", "Description")},
	{"expression of a metric that does not exist", "dashboard", replaced("(deleted, 0) -", "(deletd, 0) -", "Dashboard", "Properties", "DashboardBody", "Fn::Sub", 0)},
	{"search for a metric that does not exist", "dashboard", replaced("Outdated", "Outdatd", "Dashboard", "Properties", "DashboardBody", "Fn::Sub", 0)},
	{"dashboard that is no JSON", "dashboard", set("{", "Dashboard", "Properties", "DashboardBody")},
	{"mapping past the alias", "gradual deployment", set(ref("IngestFunction"), "IngestMapping", "Properties", "FunctionName")},
	{"no alarm rolls back", "gradual deployment", set(nil, "DeploymentGroup", "Properties", "AlarmConfiguration")},
	{"parameter that nothing uses", "nothing unused", setAny(map[string]any{"Type": "String", "Default": "", "Description": "?"}, "Parameters", "Spare")},
	{"queue without its condition", "references", set("Unkeyed", queueOf, "Condition")},
}

func TestMutationsFail(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	tested := map[string]bool{}
	for _, m := range mutations {
		tested[m.rule] = true
		broken := clone(source).(template)
		m.apply(broken)
		if reflect.DeepEqual(source, broken) {
			t.Errorf("%s: changes nothing", m.name)
			continue
		}
		check := rules[m.rule]
		if check == nil {
			t.Errorf("%s: no rule %q", m.name, m.rule)
			continue
		}
		found := ""
		for _, name := range slices.Sorted(maps.Keys(scenarios)) {
			if problems := check(resolve(broken, scenarios[name])); len(problems) > 0 {
				found = fmt.Sprintf("%s: %s", name, problems[0])
				break
			}
		}
		if found == "" {
			t.Errorf("%s: the rule %q does not notice", m.name, m.rule)
			continue
		}
		t.Logf("%-40s fails %-22s %s", m.name, m.rule, found)
	}
	for rule := range rules {
		if !tested[rule] {
			t.Errorf("no mutation tests the rule %q", rule)
		}
	}
}

package pipeline_test

import (
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/demo"
	"lazaret/internal/filter"
	"lazaret/internal/filter/match"
	"lazaret/internal/gateway"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
	"lazaret/internal/unpack"
)

// What the filters of the demonstration cost for a message of 10 KiB.
func BenchmarkJudge(b *testing.B) {
	p := newBench(b, demo.SampleFilters)
	in := p.input("Subject: hello\r\nFrom: a@b.example\r\n\r\n" + strings.Repeat("Some words of a letter, as they come along.\r\n", 230))
	b.SetBytes(in.Size)
	for b.Loop() {
		if _, err := p.Judge(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// What a message of 4 KiB costs that no filter looks into: the search for what
// readers understand differently.
func BenchmarkAmbiguous(b *testing.B) {
	p := newBench(b, "")
	p.Pipeline = pipeline.New(pipeline.Options{Log: logs.Discard(), HoldAmbiguous: "Policy"})
	in := p.input("Subject: hello\r\nFrom: a@b.example\r\n\r\n" + strings.Repeat("Some words of a letter, as they come along.\r\n", 90))
	b.SetBytes(in.Size)
	for b.Loop() {
		if _, err := p.Judge(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// What 20 filters cost for a message of 4 KiB, half of them with expressions
// about its text, and what it costs that attachments would be opened if there
// were any (goal: 5,000 messages a second a core).
func BenchmarkTwentyFilters(b *testing.B) {
	var script strings.Builder
	for i := range 20 {
		n := strconv.Itoa(i)
		switch i % 4 {
		case 0:
			script.WriteString("f" + n + `: if (body-contains("(?i)offer number ` + n + ` of [0-9]+")) { quarantine("Policy"); }` + "\n")
		case 1:
			script.WriteString("f" + n + `: if (attachment-filename == "(?i)\.(exe|scr|x` + n + `)$" or attachment-contains("secret ` + n + `")) { drop(); }` + "\n")
		case 2:
			script.WriteString("f" + n + `: if (subject == "(?i)lottery ` + n + `" or mail-from == "@bad` + n + `\.example$") { drop(); }` + "\n")
		default:
			script.WriteString("f" + n + `: if (body-contains("*credit", ` + n + `) or rcpt-count > 5` + n + `) { quarantine("Policy"); }` + "\n")
		}
	}
	set, err := filter.Parse(script.String())
	if err != nil {
		b.Fatal(err)
	}
	in := (&bench{}).input("Subject: hello\r\nFrom: a@b.example\r\n\r\n" + strings.Repeat("Some words of a letter, as they come along.\r\n", 90))
	for _, c := range []struct {
		name string
		*pipeline.Pipeline
	}{
		{"attachments closed", pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind})},
		{"attachments opened", pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind, Opener: gateway.NewOpener(newPool(b, unpack.Options{}))})},
	} {
		c.Set(pipeline.Settings{Filters: set})
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(in.Size)
			for b.Loop() {
				if _, err := c.Judge(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a policy of 20 content filters costs for a message of 4 KiB, a quarter of
// them with a dictionary of 1000 words (goal: 5,000 messages a second a core).
func BenchmarkTwentyContentFilters(b *testing.B) {
	words := make([]string, 1000)
	for i := range words {
		words[i] = "term" + strconv.Itoa(i*7919) + ", 3"
	}
	d, err := match.NewDictionary("words", words, match.DictionaryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var list []filter.ContentFilter
	for i := range 20 {
		n := strconv.Itoa(i)
		conditions := [...]string{
			`body-contains("(?i)offer number ` + n + ` of [0-9]+")`, `dictionary-match("words", ` + strconv.Itoa(i+2) + `)`,
			`subject == "(?i)lottery ` + n + `"`, `body-contains("*iban", ` + n + `)`,
		}
		list = append(list, filter.ContentFilter{Name: "f" + n, Conditions: []string{conditions[i%4]}, Actions: []string{`quarantine("Policy")`}})
	}
	set, err := filter.NewContent("inbound", list)
	if err != nil {
		b.Fatal(err)
	}
	set.For(filter.Site{Dictionary: func(string) *match.Dictionary { return d }})
	p := pipeline.New(pipeline.Options{Log: logs.Discard(), Kind: kind})
	p.Set(pipeline.Settings{Content: map[policy.Key]*filter.Set{{Table: "inbound", Name: policy.Default}: set}})
	in := (&bench{}).input("Subject: hello\r\nFrom: a@b.example\r\n\r\n" + strings.Repeat("Some words of a letter, as they come along.\r\n", 90))
	b.SetBytes(in.Size)
	for b.Loop() {
		if _, err := p.Judge(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

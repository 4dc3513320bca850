package pipeline_test

import (
	"strings"
	"testing"

	"lazaret/internal/demo"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
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

package admin

import (
	"context"

	"lazaret/internal/auth"
	"lazaret/internal/config"
)

func (f Configuration) metricsCommands() []Command {
	return []Command{{Name: "metricsconfig", Summary: "Show numbers to a monitoring program, or not",
		Usage: "metricsconfig\nmetricsconfig setup [IP:PORT|off]\n\nAt /metrics of that address, in the form of Prometheus; nobody logs in there.",
		Right: auth.ConfigChange, MaxArgs: 2, Run: f.metrics}}
}

func (f Configuration) metrics(ctx context.Context, c *Call) error {
	if len(c.Args) == 0 {
		conf, _ := f.Store.Pending()
		at := "off"
		if l := conf.Metrics.Listen; l != "" {
			at = "http://" + l + "/metrics"
		}
		c.Printf("Metrics: %s\n", Plain(at))
		if c.Batch {
			return nil
		}
	}
	return c.actions(ctx, action{"setup", "Choose the address, or turn them off.", f.setupMetrics})
}

func (f Configuration) setupMetrics(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	at, err := c.Ask("Enter the address, such as 127.0.0.1:9641, or off.", orWord(conf.Metrics.Listen, "off"))
	if err != nil {
		return err
	}
	what := at
	if at == "off" {
		at = ""
	}
	err = f.Store.Change(c.Principal, "metrics at "+quoted([]string{what}), func(next *config.Config) error {
		next.Metrics.Listen = at
		return nil
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}

package admin

import (
	"context"
	"strings"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// Link is this appliance's CPQ certificate.
type Link interface {
	LinkLines() []string // how it stands, for people
	BeginRenewal() error // makes the next one
	RetireRenewal() error
}

// manager reports whether this is one; its gateways are asked by it.
func (f Configuration) manager() bool {
	return f.Store.Committed().Role == string(config.Manager)
}

func (f Configuration) cpqUsage() string {
	if f.manager() {
		return "\ncpqconfig exchange"
	}
	return "\ncpqconfig unpair"
}

func (f Configuration) cpqChoices() []Choice {
	all := []Choice{{"PORT", "Change the port."}, {"INTERFACE", "Change the interface."}}
	if f.Link != nil {
		all = append(all, Choice{"ROTATE", "Make a new CPQ certificate; the old one stays valid until all peers know the new one, and a week longer."},
			Choice{"RETIRE", "End a renewal now: remove the old CPQ certificate."})
	}
	if f.Tell != nil {
		all = append(all, Choice{"EXCHANGE", "Exchange CPQ certificates and addresses with all gateways now."})
	}
	if !f.manager() {
		all = append(all, Choice{"UNPAIR", "End the pairing with the manager."})
	}
	return all
}

// renew begins or ends a renewal, or exchanges; what it does is in force at
// once, for it changes no configuration of this side.
func (f Configuration) renew(ctx context.Context, c *Call, word string) (err error) {
	switch word {
	case "rotate":
		err = f.Link.BeginRenewal()
	case "retire":
		err = f.Link.RetireRenewal()
	}
	result := "ok"
	if err != nil {
		result = "refused: " + errs.Public(err)
	}
	c.Audit("CPQ certificate: "+word, result)
	if err != nil {
		return err
	}
	var trouble []string
	if f.Tell != nil {
		trouble = f.Tell(ctx)
	}
	for _, line := range append(f.Link.LinkLines(), trouble...) {
		c.Printf("%s\n", Plain(line))
	}
	if f.Tell == nil && word == "rotate" {
		c.Printf("The manager asks for it within some minutes; cpqconfig exchange on the manager does so now.\n")
	}
	return nil
}

// unpair ends the pairing of a gateway. What is queued for the manager waits.
func (f Configuration) unpair(c *Call) error {
	conf, _ := f.Store.Pending()
	var names []string
	for _, m := range conf.CPQ.Managers {
		names = append(names, m.Name)
	}
	err := f.Store.Change(c.Principal, "end pairing with "+strings.Join(names, ", "), func(next *config.Config) error { return next.ForgetManager() })
	if err != nil {
		return err
	}
	c.Printf("The pairing with %s is ended: it can neither give back what it holds nor ask anything. Mail for the.cpq.host waits here\n"+
		"until a manager adds this gateway. Commit to put this in force.\n", Plain(strings.Join(names, ", ")))
	return nil
}

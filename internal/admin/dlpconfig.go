package admin

import (
	"context"
	"slices"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// dlpCommands change the DLP policies, and which there are. Changes are pending
// until commit.
func (f Configuration) dlpCommands() []Command {
	const usage = `dlpconfig
dlpconfig new NAME [PARAMETER=VALUE...]
dlpconfig edit NAME PARAMETER=VALUE...
dlpconfig delete NAME
dlpconfig list
dlpconfig print NAME

Parameters are dictionary and identifier (what is looked for, with commas; identifiers: *aba, *credit, *cusip, *iban, *ssn), weight (of a match of an identifier; 10),
and for each of low, medium, high, critical: LEVEL_from (risk factor from which on it is so, 1 to 100; 0: never), LEVEL (deliver, drop, quarantine), LEVEL_quarantine, LEVEL_tag (in front of the subject), LEVEL_header (X-Name: value).
Which outgoing mail they are for is a setting of its mail policy: policyconfig edit outbound DEFAULT dlp_policy=NAME,...`
	return []Command{
		{Name: "dlpconfig", Summary: "Change what outgoing mail must not have in it", Usage: usage, Right: auth.ConfigChange, MaxArgs: 40, Run: f.dlp},
		{Name: "dlpconfig list", Summary: "List the DLP policies", Usage: "dlpconfig list", Right: auth.ConfigView, Run: f.listDLP},
		{Name: "dlpconfig print", Summary: "Print all settings of a DLP policy", Usage: "dlpconfig print NAME", Right: auth.ConfigView, MaxArgs: 1, Run: f.printDLP},
	}
}

func (f Configuration) dlp(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a new DLP policy.", f.newDLP},
		action{"edit", "Modify a DLP policy.", f.editDLP},
		action{"delete", "Remove a DLP policy.", f.deleteDLP},
		action{"list", "List the DLP policies.", f.listDLP},
		action{"print", "Print all settings of one.", f.printDLP})
}

func (f Configuration) newDLP(_ context.Context, c *Call) error {
	name, err := c.Ask("Enter a name for the DLP policy:", "")
	if err != nil {
		return err
	}
	p := config.DLPPolicy{Name: name}
	if err := fill(c, &p); err != nil {
		return err
	}
	return f.changePolicies(c, "new DLP policy "+name, func(next *config.Config) error {
		if next.FindDLP(name) >= 0 {
			return errs.New(errs.Conflict, "There is a DLP policy %s already", Clip(name, 70))
		}
		next.DLPPolicies = append(slices.Clip(next.DLPPolicies), p)
		return nil
	})
}

// pickDLP reads the name of one that is there.
func (f Configuration) pickDLP(c *Call) (config.DLPPolicy, error) {
	name, err := c.Ask("Enter the name of the DLP policy:", "")
	if err != nil {
		return config.DLPPolicy{}, err
	}
	conf, _ := f.Store.Pending()
	i := conf.FindDLP(name)
	if i < 0 {
		return config.DLPPolicy{}, errs.New(errs.NotFound, "There is no DLP policy %s", Clip(name, 70))
	}
	return conf.DLPPolicies[i], nil
}

func (f Configuration) editDLP(_ context.Context, c *Call) error {
	p, err := f.pickDLP(c)
	if err != nil {
		return err
	}
	if err := fill(c, &p); err != nil {
		return err
	}
	return f.changePolicies(c, "edit DLP policy "+p.Name, func(next *config.Config) error {
		next.DLPPolicies = slices.Clone(next.DLPPolicies)
		if i := next.FindDLP(p.Name); i >= 0 {
			next.DLPPolicies[i] = p
		}
		return nil
	})
}

func (f Configuration) deleteDLP(_ context.Context, c *Call) error {
	p, err := f.pickDLP(c)
	if err != nil {
		return err
	}
	return f.changePolicies(c, "delete DLP policy "+p.Name, func(next *config.Config) error {
		next.DLPPolicies = slices.DeleteFunc(slices.Clone(next.DLPPolicies), func(o config.DLPPolicy) bool { return o.Name == p.Name })
		return nil
	})
}

func (f Configuration) listDLP(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	if len(conf.DLPPolicies) == 0 {
		c.Printf("There are no DLP policies.\n")
		return nil
	}
	for i, p := range conf.DLPPolicies {
		c.Printf("%3d  %-40s %s\n", i+1, Plain(p.Name), people(append(slices.Clone(p.Dictionaries), p.Identifiers...)))
	}
	return nil
}

func (f Configuration) printDLP(_ context.Context, c *Call) error {
	p, err := f.pickDLP(c)
	if err != nil {
		return err
	}
	for _, v := range p.Parameters() {
		c.Printf("%s=%s\n", v.Name, Plain(v.Value))
	}
	return nil
}

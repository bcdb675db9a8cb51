package flow

import (
	"errors"
	"fmt"

	"afctl/flow/strictjson"
)

// line is a trajectory as a line of a file has it: its number may be left out.
type line struct {
	Trajectory
	Sample   *int         `json:"sample"`
	Sampling lineSampling `json:"sampling"`
}

// lineSampling tells a temperature of 0 from one that is not recorded.
type lineSampling struct {
	Sampling
	Temperature *float64 `json:"temperature"`
}

// ParseTrajectory reads one line of JSON: a trajectory with any of Trajectory's fields, of which an update needs
//
//	{"group":"q1","sample":0,"reward":1.0,"turns":[{"prompt":[ids],"action":[ids],"logprobs":[...]}]}
//
// "group" is required. "reward" null or missing makes a failed rollout. "sample" null or missing gives Sample = -1,
// which NewUpdate numbers. Unknown, misspelt, miscased and repeated names are errors that say which, and for what; the
// content is checked by NewUpdate.
func ParseTrajectory(b []byte) (Trajectory, error) {
	var l line
	if err := strictjson.Decode(b, &l, strictjson.RefuseUnknown, strictjson.NoNull[int32](), strictjson.NoNull[float32]()); err != nil {
		return Trajectory{}, err
	}
	t := l.Trajectory
	t.Sample = -1
	if l.Sample != nil {
		t.Sample = *l.Sample
		if t.Sample < 0 {
			return Trajectory{}, fmt.Errorf("sample: found %d, expected a number from 0", t.Sample)
		}
	}
	t.Sampling = l.Sampling.Sampling
	if l.Sampling.Temperature != nil {
		t.Sampling.Temperature = *l.Sampling.Temperature
		if t.Sampling.Temperature == 0 {
			return Trajectory{}, errors.New("sampling.temperature: found 0, expected the temperature > 0 that the actions were drawn at: log-probs of a likeliest token have no ratio")
		}
	}
	if t.Group == "" {
		return Trajectory{}, errors.New(`group: found none, expected the name that the rollouts of one task share`)
	}
	return t, nil
}

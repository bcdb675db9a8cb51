package flow

// Aggregation names how the tokens of an update are weighted against each other (Update.Weight).
type Aggregation string

// The five aggregations. The weight of a token of rollout i, turn t, with N groups in the update:
const (
	AggregationFlow        Aggregation = "flow"         // 1 / (N * G_eff * T_i * len(a_it)): AgentFlow eq. 5
	AggregationRolloutMean Aggregation = "rollout-mean" // 1 / (rollouts * action tokens of rollout i)
	AggregationTurnMean    Aggregation = "turn-mean"    // 1 / (turns * len(a_it)): GRPO, a turn being the sequence
	AggregationTokenMean   Aggregation = "token-mean"   // 1 / (action tokens of the update): DAPO
	AggregationConstant    Aggregation = "constant"     // 1 / (turns * max_action_tokens): Dr.GRPO
)

// AdvantageStd names the spread that advantages are divided by.
type AdvantageStd string

// Spreads.
const (
	StdSample     AdvantageStd = "sample"     // divisor G_eff-1
	StdPopulation AdvantageStd = "population" // divisor G_eff
	StdNone       AdvantageStd = "none"       // A = R - mean (Dr.GRPO)
)

// KLEstimator names the estimator of the KL to the reference.
type KLEstimator string

// Estimators, with x = clamp(lr - lp, -20, 20) (Schulman 2020).
const (
	// K1 is clamp(lo - lr) summed over the action tokens of a rollout; beta times it is taken off the rollout's reward
	// before the advantage is formed (Update.ShapeRewards). The loss then has no KL term of its own, and the kl that is
	// reported is -x.
	K1 KLEstimator = "k1"
	K2 KLEstimator = "k2" // x^2 / 2
	K3 KLEstimator = "k3" // exp(x) - x - 1
)

// AdvantageOver names the rows that group statistics run over.
type AdvantageOver string

// AdvantageOverRollouts is the paper's; AdvantageOverTurns counts a rollout once per turn, the mistake of other
// trainers, kept as an ablation.
const (
	AdvantageOverRollouts AdvantageOver = "rollouts"
	AdvantageOverTurns    AdvantageOver = "turns"
)

// Objective holds every option of the loss, under the names that the config's flow section uses. Validate says which
// values are refused; flow/PAPERS.md says where each formula comes from.
type Objective struct {
	GroupSize       int           `yaml:"group_size" json:"group_size"`               // G: rollouts of one task
	ClipLow         float64       `yaml:"clip_low" json:"clip_low"`                   // eps_low (PPO; DAPO sec. 3.1)
	ClipHigh        float64       `yaml:"clip_high" json:"clip_high"`                 // eps_high
	DualClip        float64       `yaml:"dual_clip" json:"dual_clip"`                 // c > 1; 0 is off (Ye et al. 2020)
	KL              float64       `yaml:"kl" json:"kl"`                               // beta
	KLEstimator     KLEstimator   `yaml:"kl_estimator" json:"kl_estimator"`           //
	Aggregation     Aggregation   `yaml:"aggregation" json:"aggregation"`             //
	AdvantageStd    AdvantageStd  `yaml:"advantage_std" json:"advantage_std"`         //
	AdvantageEps    float64       `yaml:"advantage_eps" json:"advantage_eps"`         // added to the spread, outside the root
	AdvantageOver   AdvantageOver `yaml:"advantage_over" json:"advantage_over"`       //
	Temperature     float64       `yaml:"temperature" json:"temperature"`             // of the sampler, and of lp, lo, lr
	TISCap          float64       `yaml:"tis_cap" json:"tis_cap"`                     // truncated importance sampling; 0 is off
	Entropy         float64       `yaml:"entropy" json:"entropy"`                     // coefficient of the entropy bonus
	Epochs          int           `yaml:"epochs" json:"epochs"`                       // optimizer steps on one update's rollouts
	MaxActionTokens int           `yaml:"max_action_tokens" json:"max_action_tokens"` // limit of one action; the constant of "constant"
	SkipZeroSignal  bool          `yaml:"skip_zero_signal" json:"skip_zero_signal"`   // groups of equal rewards carry no KL either
}

// DefaultObjective returns the defaults of Flow-GRPO as AgentFlow trains it, clip bounds as in its published config.
func DefaultObjective() Objective {
	return Objective{
		GroupSize: 8, ClipLow: 0.2, ClipHigh: 0.3, KL: 0.001, KLEstimator: K3, Aggregation: AggregationFlow,
		AdvantageStd: StdSample, AdvantageEps: 1e-6, AdvantageOver: AdvantageOverRollouts, Temperature: 0.7,
		Epochs: 1, MaxActionTokens: 2048,
	}
}

"""The cells of a research notebook that train in pieces, keep checkpoints and measure.

The texts are cells, not code of this program: they stand alone, and a test runs them.
"""

from __future__ import annotations

MODEL = '''\
from sklearn.linear_model import SGDClassifier, SGDRegressor


class LinearModel:
    """A linear model of scikit-learn, trained by stochastic gradient descent."""

    def __init__(self, width):
        kind = SGDRegressor
        options = {"random_state": seed, "alpha": alpha}
        self.more = {}
        if task == "classification":
            kind, options["loss"] = SGDClassifier, "log_loss"
            self.more = {"classes": np.arange(len(names))}
        self.estimator = kind(**options)
        self.width = width

    def learn(self, rows, wanted):
        """Take one step through a piece of the data."""
        self.estimator.partial_fit(rows, wanted, **self.more)

    def predict(self, rows):
        """Return probabilities (rows, classes), or numbers (rows,)."""
        if task == "classification":
            return self.estimator.predict_proba(rows)
        return self.estimator.predict(rows)

    def state(self):
        """Return the arrays that a checkpoint holds."""
        found = {
            name: getattr(self.estimator, name) for name in ("coef_", "intercept_")
        }
        return {**found, "t_": np.array(self.estimator.t_)}

    def restore(self, state):
        """Go on where the checkpoint was written."""
        wanted = (
            np.arange(max(2, len(names))) if task == "classification" else np.zeros(2)
        )
        self.learn(np.zeros((len(wanted), self.width)), wanted)  # makes the arrays
        self.estimator.coef_[...] = state["coef_"]
        self.estimator.intercept_[...] = state["intercept_"]
        self.estimator.t_ = float(state["t_"])


class TorchModel:
    """A small network of torch, on the GPU when there is one."""

    def __init__(self, width):
        import torch

        self.torch = torch
        torch.manual_seed(seed)
        outputs = len(names) if task == "classification" else 1
        layers = [
            torch.nn.Linear(width, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, outputs),
        ]
        self.network = torch.nn.Sequential(*layers).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.05)
        self.steps = 0

    def tensor(self, rows):
        """Return a piece as float32 (rows, width) where the network is."""
        dense = rows.toarray() if hasattr(rows, "toarray") else rows
        return self.torch.as_tensor(np.asarray(dense, dtype=np.float32), device=device)

    def learn(self, rows, wanted):
        """Take one step through a piece of the data, 64 rows at a time."""
        order = np.random.default_rng([seed, self.steps]).permutation(len(wanted))
        for begin in range(0, len(order), 64):
            part = order[begin : begin + 64]
            found = self.network(self.tensor(rows[part]))
            if task == "classification":
                goal = self.torch.as_tensor(wanted[part], device=device)
                loss = self.torch.nn.functional.cross_entropy(found, goal)
            else:
                goal = self.tensor(wanted[part][:, None])
                loss = self.torch.nn.functional.mse_loss(found, goal)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.steps += 1

    def predict(self, rows):
        """Return probabilities (rows, classes), or numbers (rows,)."""
        parts = []
        with self.torch.no_grad():
            for begin in range(0, rows.shape[0], 1024):
                found = self.network(self.tensor(rows[begin : begin + 1024]))
                if task == "classification":
                    found = self.torch.softmax(found, dim=1)
                parts.append(found.double().cpu().numpy())
        whole = np.concatenate(parts)
        return whole if task == "classification" else whole[:, 0]

    def state(self):
        """Return the arrays that a checkpoint holds."""
        weights = self.network.state_dict().items()
        found = {name: value.cpu().numpy() for name, value in weights}
        return {**found, "steps": np.array(self.steps)}

    def restore(self, state):
        """Go on where the checkpoint was written."""
        names_of_weights = self.network.state_dict()
        weights = {n: self.torch.as_tensor(state[n]) for n in names_of_weights}
        self.network.load_state_dict(weights)
        self.steps = int(state["steps"])


if engine == "torch":
    need("torch", "torch")
learner_kind = TorchModel if engine == "torch" else LinearModel
learner = learner_kind(features(holdout[:1], scale).shape[1])
print(f"{type(learner).__name__} on {device if engine == 'torch' else 'cpu'}")
'''

CHECKPOINT = '''\
written = []


def results_folder():
    """Return the folder of what is kept: output_dir, Drive, /kaggle/working, or here."""
    if output_dir:
        return Path(output_dir)
    if drive_root is not None:
        return drive_root
    if place == "kaggle" and Path("/kaggle/working").is_dir():
        return Path("/kaggle/working")
    return Path()


def save(name, content):
    """Write a file of the results whole or not at all."""
    path = results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.replace(path)
    if name not in written:
        written.append(name)


def fingerprint():
    """Return what must be the same for a checkpoint to fit."""
    settings = [identity(), model, engine, task, target, list(classes), seed, alpha]
    settings += [chunk_rows, max_rows, holdout_ratio, hash_bits, image_side]
    settings += [sorted(drop_columns), sorted(text_columns), rows["train"]]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def save_checkpoint():
    """Keep the model and the position in the data; no pickle, so that it is only data."""
    file = io.BytesIO()
    told = json.dumps({"fingerprint": run_fingerprint, **progress})
    np.savez(file, told=np.array(told), **learner.state())
    save("checkpoint.npz", file.getvalue())


def load_checkpoint():
    """Return the progress of an earlier run that fits, None otherwise."""
    for folder in (results, Path(resume_from) if resume_from else results):
        path = folder / "checkpoint.npz"
        if not resume or not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as stored:
                told = json.loads(str(stored["told"]))
                if told.pop("fingerprint") != run_fingerprint:
                    print(f"{path} is of other data or settings: it is not used")
                    continue
                learner.restore({name: stored[name] for name in stored.files})
            return {key: told[key] for key in ("epoch", "chunk", "rows", "history")}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            print(f"{path} cannot be read ({type(error).__name__}): it is not used")
    return None


results = results_folder()
results.mkdir(parents=True, exist_ok=True)
run_fingerprint = fingerprint()
progress = load_checkpoint()
if progress:
    print(f"resumed in epoch {progress['epoch']} after chunk {progress['chunk']}")
else:
    progress = {"epoch": 0, "chunk": 0, "rows": 0, "history": []}
    learner = learner_kind(features(holdout[:1], scale).shape[1])
'''

TRAIN = '''\
def goal_of(values):
    """Return what the model learns: numbers of classes, or scaled numbers."""
    if task == "classification":
        return np.searchsorted(names.astype(str), values.astype(str))
    return (values - target_scale["mean"][0]) / target_scale["deviation"][0]


def predict(frame):
    """Return the model's answers for a frame, `chunk_rows` rows at a time."""
    parts = []
    for begin in range(0, len(frame), chunk_rows):
        part = frame.iloc[begin : begin + chunk_rows]
        parts.append(learner.predict(features(part, scale)))
    found = np.concatenate(parts)
    if task == "classification":
        return found
    return found * target_scale["deviation"][0] + target_scale["mean"][0]


def measure(answers):
    """Return the metrics of the held-out rows, beside those of a guess."""
    if not np.isfinite(answers).all():
        raise FloatingPointError("the training went out of bounds: set a larger alpha")
    wanted, _ = truth(holdout)
    if task == "regression":
        error = answers - wanted
        spread = float(((wanted - wanted.mean()) ** 2).sum())
        guess = wanted - target_scale["mean"][0]
        return {
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
            "r2": 1 - float((error**2).sum()) / spread if spread else 0.0,
            "baseline_rmse": float(np.sqrt((guess**2).mean())),
        }
    chosen, frequent = names[answers.argmax(axis=1)], max(classes, key=classes.get)
    known = np.isin(wanted.astype(str), names.astype(str))
    place_of = goal_of(np.where(known, wanted, names[0]))
    of_truth = np.where(known, answers[np.arange(len(wanted)), place_of], 0.0)
    scores = []
    for name in sorted({*wanted, *chosen}):  # F1 of every class, on equal terms
        hits = int(((wanted == name) & (chosen == name)).sum())
        both = int((wanted == name).sum() + (chosen == name).sum())
        scores.append(2 * hits / both if both else 0.0)
    return {
        "accuracy": float((chosen == wanted).mean()),
        "f1_macro": float(np.mean(scores)),
        "log_loss": float(-np.log(np.clip(of_truth, 1e-15, 1)).mean()),
        "baseline_accuracy": float((wanted == frequent).mean()),
    }


def note():
    """Measure, and add a line to metrics.jsonl."""
    step = {"step": len(progress["history"]) + 1, "epoch": progress["epoch"]}
    found = {**step, "rows": progress["rows"], **measure(predict(holdout))}
    progress["history"].append(found)
    lines = [json.dumps(entry) for entry in progress["history"]]
    save("metrics.jsonl", "\\n".join(lines) + "\\n")
    shown = (f"{key} {round(value, 4)}" for key, value in found.items())
    print(*shown)


def train_epoch():
    """Train on what is left of an epoch; return False when the time is up."""
    for number, (first, frame) in enumerate(chunks(), 1):
        if number <= progress["chunk"]:
            continue
        values, usable = truth(frame)
        train = usable & (draw(first, len(frame)) >= holdout_ratio)
        if train.any():
            learner.learn(features(frame[train], scale), goal_of(values[train]))
        progress["chunk"] = number
        progress["rows"] += int(train.sum())
        if time_limit_s and time.monotonic() - started_s > time_limit_s:
            save_checkpoint()
            return False
        if number % checkpoint_chunks == 0:
            save_checkpoint()
    progress["epoch"], progress["chunk"] = progress["epoch"] + 1, 0
    note()
    save_checkpoint()
    return True


while progress["epoch"] < epochs and train_epoch():
    pass
complete = progress["epoch"] >= epochs
if not complete:
    print(f"the time limit of {time_limit_s} s is reached: run again to go on")
'''

RESULTS = '''\
answers = predict(holdout)
wanted, _ = truth(holdout)
metrics = measure(answers)
counts = {"rows_train": rows["train"], "rows_holdout": len(holdout), "epochs": epochs}
metrics |= {**counts, "epochs_done": progress["epoch"], "complete": int(complete)}
table = pd.DataFrame({"row": holdout["row"], "truth": wanted})
if task == "classification":
    table["predicted"] = names[answers.argmax(axis=1)]
    table["probability"] = answers.max(axis=1)
else:
    table["predicted"] = answers
save("predictions.csv", table.to_csv(index=False, lineterminator="\\n"))


def save_plot(name, figure):
    """Save a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    save(f"plots/{name}.png", file.getvalue())


def plot_all():
    """Draw how training went, and the answers beside the truth."""
    from matplotlib.figure import Figure  # draws without a screen

    score = "accuracy" if task == "classification" else "rmse"
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot(xlabel="rows seen", ylabel=f"{score} of held-out rows")
    history = progress["history"]
    axes.plot([e["rows"] for e in history], [e[score] for e in history], marker="o")
    axes.axhline(
        metrics[f"baseline_{score}"], linestyle="--", color="gray", label="a guess"
    )
    axes.legend()
    save_plot("curve", figure)
    figure = Figure(figsize=(5, 5))
    if task == "regression":
        axes = figure.add_subplot(xlabel="truth", ylabel="predicted")
        axes.scatter(wanted[:5000], answers[:5000], s=4)
        save_plot("predicted", figure)
    elif len(names) <= 30:
        counts = pd.crosstab(table["truth"], table["predicted"])
        axes = figure.add_subplot(xlabel="predicted", ylabel="truth")
        axes.imshow(counts.to_numpy(), cmap="Blues")
        axes.set_xticks(range(counts.shape[1]), counts.columns, rotation=90)
        axes.set_yticks(range(counts.shape[0]), counts.index)
        save_plot("confusion", figure)


if importlib.util.find_spec("matplotlib") is None:
    print("matplotlib is not installed: no plots")
else:
    plot_all()
save("metrics.json", json.dumps(metrics, indent=2, sort_keys=True) + "\\n")
print(json.dumps(metrics, indent=2, sort_keys=True))
'''

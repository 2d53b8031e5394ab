"""A Python worker for what nginx enqueues: `reeve worker tasks:app --url redis://127.0.0.1`."""

from reeve import App

app = App()


@app.task(name="report:build", queue="reports")
def build(month: str, rows: int = 0) -> str:
    return f"report of {month} with {rows} rows"

import { render } from "preact";
import { App } from "./app";
import "./style/tokens.css";
import "./style/base.css";
import "./style/shell.css";
import "./style/search.css";
import "./style/map.css";
import "./style/reports.css";

render(<App />, document.getElementById("page")!);

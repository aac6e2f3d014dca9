import "../src/base.css";
import { mount } from "svelte";
import GetHelp from "../src/support/GetHelp.svelte";

const target = document.getElementById("app");
if (target) mount(GetHelp, { target });
